--- What vim25 classes are and have: enough to tell an unset property from one that does not exist.
---@class lab.schema
local M <const> = {}

local BASES <const> = {
  Folder = "ManagedEntity",
  Datacenter = "ManagedEntity",
  ComputeResource = "ManagedEntity",
  ClusterComputeResource = "ComputeResource",
  HostSystem = "ManagedEntity",
  VirtualMachine = "ManagedEntity",
  Datastore = "ManagedEntity",
  StoragePod = "Folder",
  Network = "ManagedEntity",
  OpaqueNetwork = "Network",
  DistributedVirtualPortgroup = "Network",
  DistributedVirtualSwitch = "ManagedEntity",
  VmwareDistributedVirtualSwitch = "DistributedVirtualSwitch",
  ResourcePool = "ManagedEntity",
  VirtualApp = "ResourcePool",
  ManagedEntity = "ExtensibleManagedObject",
  ContainerView = "ManagedObjectView",
  ListView = "ManagedObjectView",
  ManagedObjectView = "View",
}

local PROPERTIES <const> = {
  ManagedEntity = [[
    parent customValue overallStatus configStatus configIssue effectiveRole permission name disabledMethod
    recentTask declaredAlarmState triggeredAlarmState alarmActionsEnabled tag value availableField
  ]],
  Folder = "childType childEntity namespace",
  Datacenter = "vmFolder hostFolder datastoreFolder networkFolder datastore network configuration",
  ComputeResource = [[
    resourcePool host datastore network summary environmentBrowser configurationEx configManager lifecycleManaged
  ]],
  ClusterComputeResource = [[
    configuration recommendation drsRecommendation drsFault hciConfig migrationHistory actionHistory summaryEx
  ]],
  HostSystem = [[
    runtime summary hardware capability licensableResource remediationState precheckRemediationResult
    remediationResult complianceCheckState complianceCheckResult configManager config vm datastore network
    datastoreBrowser systemResources answerFileValidationState answerFileValidationResult
  ]],
  VirtualMachine = [[
    capability config layout layoutEx storage environmentBrowser resourcePool parentVApp resourceConfig runtime
    guest summary datastore network snapshot rootSnapshot guestHeartbeatStatus
  ]],
  Datastore = "info summary host vm browser capability iormConfiguration",
  Network = "summary host vm",
  ResourcePool = "summary runtime owner resourcePool vm config namespace childConfiguration",
  StoragePod = "summary podStorageDrsEntry",
  OpaqueNetwork = "capability extraConfig",
  DistributedVirtualPortgroup = "key config portKeys",
  DistributedVirtualSwitch = "uuid capability summary config networkResourcePool portgroup runtime",
  VirtualApp = "parentFolder vAppConfig parentVApp childLink",
  Task = "info value availableField",
  ContainerView = "container type recursive",
  ManagedObjectView = "view",
  SessionManager = "sessionList currentSession message messageLocaleList supportedLocaleList defaultLocale",
  HostStorageSystem = "storageDeviceInfo fileSystemVolumeInfo systemFile multipathStateInfo value availableField",
  OptionManager = "supportedOption setting",
  ServiceInstance = "serverClock capability content",
  PropertyCollector = "filter",
  PropertyFilter = "spec partialUpdates",
  ViewManager = "viewList",
  SearchIndex = "",
  FileManager = "",
  HostDatastoreBrowser = "datastore supportedType",
  TaskManager = "recentTask description maxCollector",
  AuthorizationManager = "privilegeList roleList description",
}

--- Fields of the data objects whose insides clients ask for by path.
local FIELDS <const> = {
  HostConfigInfo = [[
    host product deploymentInfo hyperThread cpuScheduler consoleReservation virtualMachineReservation storageDevice
    multipathState fileSystemVolume systemFile network vmotion virtualNicManagerInfo capabilities
    datastoreCapabilities offloadCapabilities service firewall autoStart activeDiagnosticPartition option optionDef
    datastorePrincipal localSwapDatastore systemSwapConfiguration systemResources dateTimeInfo flags adminDisabled
    lockdownMode ipmi sslThumbprintInfo sslThumbprintData certificate pciPassthruInfo authenticationManagerInfo
    featureVersion powerSystemCapability powerSystemInfo cacheConfigurationInfo wakeOnLanCapable featureCapability
    maskedFeatureCapability vFlashConfigInfo vsanHostConfig domainList scriptCheckSum hostConfigCheckSum
    descriptionTreeCheckSum graphicsInfo sharedPassthruGpuTypes graphicsConfig sharedGpuCapabilities ioFilterInfo
    sriovDevicePool assignableHardwareBinding assignableHardwareConfig
  ]],
  HostStorageDeviceInfo = [[
    hostBusAdapter scsiLun scsiTopology nvmeTopology multipathInfo plugStoreTopology softwareInternetScsiEnabled
  ]],
  HostVirtualNicManagerInfo = "netConfig",
  HostConfigManager = [[
    cpuScheduler datastoreSystem memoryManager storageSystem networkSystem vmotionSystem virtualNicManager
    serviceSystem firewallSystem advancedOption diagnosticSystem autoStartManager snmpSystem dateTimeSystem
    patchManager imageConfigManager bootDeviceSystem firmwareSystem healthStatusSystem pciPassthruSystem
    licenseManager kernelModuleSystem authenticationManager powerSystem cacheConfigurationManager
    esxAgentHostManager iscsiManager vFlashManager vsanSystem messageBusProxy userDirectory accountManager
    hostAccessManager graphicsManager vsanInternalSystem certificateManager cryptoManager nvdimmSystem
    assignableHardwareManager
  ]],
  HostRuntimeInfo = [[
    connectionState powerState standbyMode inMaintenanceMode inQuarantineMode bootTime healthSystemRuntime
    dasHostState tpmPcrValues vsanRuntimeInfo networkRuntimeInfo vFlashResourceRuntimeInfo
    hostMaxVirtualDiskCapacity cryptoState cryptoKeyId statelessNvdsMigrationReady partialMaintenanceMode
    stateEncryption
  ]],
  VirtualMachineRuntimeInfo = [[
    device host connectionState powerState vmFailoverInProgress faultToleranceState dasVmProtection
    toolsInstallerMounted suspendTime bootTime suspendInterval question memoryOverhead maxCpuUsage maxMemoryUsage
    numMksConnections recordReplayState cleanPowerOff needSecondaryReason onlineStandby minRequiredEVCModeKey
    consolidationNeeded offlineFeatureRequirement featureRequirement featureMask vFlashCacheAllocation paused
    snapshotInBackground quiescedForkParent instantCloneFrozen cryptoState suspendedToMemory opNotificationTimeout
    iommuActive
  ]],
  VirtualMachineConfigInfo = [[
    changeVersion modified name guestFullName version uuid createDate instanceUuid npivNodeWorldWideName
    npivPortWorldWideName npivWorldWideNameType npivDesiredNodeWwns npivDesiredPortWwns npivTemporaryDisabled
    npivOnNonRdmDisks locationId template guestId alternateGuestName annotation files tools flags consolePreferences
    defaultPowerOps rebootPowerOff hardware vcpuConfig cpuAllocation memoryAllocation latencySensitivity
    memoryHotAddEnabled cpuHotAddEnabled cpuHotRemoveEnabled hotPlugMemoryLimit hotPlugMemoryIncrementSize
    cpuAffinity memoryAffinity networkShaper extraConfig cpuFeatureMask datastoreUrl swapPlacement bootOptions
    ftInfo repConfig vAppConfig vAssertsEnabled changeTrackingEnabled firmware maxMksConnections
    guestAutoLockEnabled managedBy memoryReservationLockedToMax initialOverhead nestedHVEnabled vPMCEnabled
    scheduledHardwareUpgradeInfo forkConfigInfo vFlashCacheReservation vmxConfigChecksum messageBusTunnelEnabled
    vmStorageObjectId swapStorageObjectId keyId guestIntegrityInfo migrateEncryption
  ]],
  VirtualHardware = [[
    numCPU numCoresPerSocket autoCoresPerSocket memoryMB virtualICH7MPresent virtualSMCPresent device
    motherboardLayout simultaneousThreads
  ]],
  TaskInfo = [[
    key task description name descriptionId entity entityName locked state cancelled cancelable error result
    progress progressDetails reason queueTime startTime completeTime eventChainId changeTag parentTaskKey
    rootTaskKey activationId
  ]],
  DatastoreSummary = [[
    datastore name url capacity freeSpace uncommitted accessible multipleHostAccess type maintenanceMode
  ]],
}

local function set_of(text)
  local set <const> = {}
  for word in text:gmatch "%S+" do
    set[word] = true
  end
  return set
end

for _, table_of in ipairs { PROPERTIES, FIELDS } do
  for name, words in pairs(table_of) do
    table_of[name] = set_of(words)
  end
end

--- Whether `type` is `base` or descends from it.
---@return boolean
function M.is_a(type, base)
  while type do
    if type == base then return true end
    type = BASES[type]
  end
  return base == "ManagedObject"
end

---@return boolean
function M.has_type(type) return BASES[type] ~= nil or PROPERTIES[type] ~= nil end

--- Whether objects of `type` can have that property at all.
---@return boolean
function M.has_property(type, name)
  while type do
    if PROPERTIES[type] and PROPERTIES[type][name] then return true end
    type = BASES[type]
  end
  return false
end

--- Whether data of class `type` can have that field; classes not listed here are taken at their word.
---@return boolean
function M.has_field(type, name) return FIELDS[type] == nil or FIELDS[type][name] == true end

return M
