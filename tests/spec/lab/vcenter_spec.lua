local codec <const> = require "lunalift.codec"
local faults <const> = require "lab.faults"
local vcenter <const> = require "lab.vcenter"
local task <const> = require "lunalift.task"
local vim <const> = require "lab.vim"
local xml <const> = require "lunalift.xml"

local USER <const>, PASSWORD <const> = "svc@vsphere.local", [[p&ss "1"]]
local LOGIN <const> = "<userName>" .. USER .. "</userName><password>p&amp;ss &quot;1&quot;</password>"

local ENVELOPE <const> = '<?xml version="1.0"?><Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/" '
  .. 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Body>%s</Body></Envelope>'

local function child(node, name)
  for _, each in ipairs(node or {}) do
    if each.name == name then return each end
  end
end

local function children(node, name)
  local found <const> = {}
  for _, each in ipairs(node) do
    if each.name == name then found[#found + 1] = each end
  end
  return found
end

describe("the simulated vCenter", function()
  local vc, cookie

  before_each(function()
    cookie = nil
    vc = vcenter.new { faults = faults.new(), username = USER, password = PASSWORD, page_max = 3 }
    local root <const> = vc.tree.root
    for i = 1, 7 do
      vc.tree:folder("group-d" .. 10 + i, root, "Folder " .. i, {})
    end
  end)

  local function post(inside, headers)
    return vc:handle {
      method = "POST",
      path = "/sdk",
      query = "",
      args = {},
      headers = headers or { soapaction = "urn:vim25/8.0.0.1", cookie = cookie },
      body = ENVELOPE:gsub("%%s", function() return inside end),
      peer = "127.0.0.1",
    }
  end

  local function envelope(answer) return child(assert(xml.parse(answer.body)), "Body")[1] end

  --- The returnvals, or nil and the fault's type.
  local function call(method, type, id, inside)
    local answer <const> =
      post(('<%s xmlns="urn:vim25"><_this type="%s">%s</_this>%s</%s>'):format(method, type, id, inside or "", method))
    local node <const> = envelope(answer)
    if answer.status == 200 then return children(node, "returnval"), answer end
    assert.equal(500, answer.status)
    return nil, child(node, "detail")[1].attr["{http://www.w3.org/2001/XMLSchema-instance}type"]
  end

  local function log_in()
    local found <const>, answer <const> = call("Login", "SessionManager", "SessionManager", LOGIN)
    cookie = answer.headers["Set-Cookie"]:match "^[^;]+"
    return found[1], answer
  end

  local function names_of(view)
    return "<specSet><propSet><type>Folder</type><pathSet>name</pathSet></propSet><objectSet>"
      .. ('<obj type="ContainerView">%s</obj><skip>true</skip>'):format(codec.xml_escape(view))
      .. '<selectSet xsi:type="TraversalSpec"><type>ContainerView</type><path>view</path></selectSet></objectSet></specSet><options/>'
  end

  local function view()
    local found <const> = call(
      "CreateContainerView",
      "ViewManager",
      "ViewManager",
      '<container type="Folder">group-d1</container><type>Folder</type><recursive>true</recursive>'
    )
    return found[1].text
  end

  it("tells what it is without a login, and nothing else", function()
    assert.equal(
      "group-d1",
      child(call("RetrieveServiceContent", "ServiceInstance", "ServiceInstance")[1], "rootFolder").text
    )
    assert.same({ nil, "NotAuthenticated" }, { call("CurrentTime", "ServiceInstance", "ServiceInstance") })
  end)

  it("sets a quoted cookie, and accepts it with and without the quotes", function()
    local _session <const>, answer <const> = log_in()
    assert.is_truthy(answer.headers["Set-Cookie"]:find '^vmware_soap_session="%x+"; Path=/; HttpOnly; Secure')
    assert.is_truthy(call("CurrentTime", "ServiceInstance", "ServiceInstance"))
    cookie = cookie:gsub('"', "")
    assert.is_truthy(call("CurrentTime", "ServiceInstance", "ServiceInstance"))
  end)

  it("refuses a wrong password, and a second login on a live cookie", function()
    local wrong <const> = LOGIN:gsub("ss ", "sss ")
    assert.same({ nil, "InvalidLogin" }, { call("Login", "SessionManager", "SessionManager", wrong) })
    log_in()
    assert.same({ nil, "InvalidLogin" }, { call("Login", "SessionManager", "SessionManager", LOGIN) })
    cookie = nil
    assert.is_truthy(log_in())
  end)

  it("refuses parameters in another order, unknown ones, and missing ones", function()
    local swapped <const> = "<password>x</password><userName>y</userName>"
    assert.same({ nil, "InvalidRequest" }, { call("Login", "SessionManager", "SessionManager", swapped) })
    local more <const> = LOGIN .. "<nonsense/>"
    assert.same({ nil, "InvalidRequest" }, { call("Login", "SessionManager", "SessionManager", more) })
    assert.same({ nil, "InvalidRequest" }, { call("Login", "SessionManager", "SessionManager", "") })
    log_in()
    local early <const> = '<specSet><objectSet><obj type="Folder">group-d1</obj></objectSet>'
      .. "<propSet><type>Folder</type></propSet></specSet><options/>"
    assert.same(
      { nil, "InvalidRequest" },
      { call("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", early) }
    )
  end)

  it("wants a SOAPAction", function()
    local answer <const> =
      post('<CurrentTime xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></CurrentTime>', {})
    assert.equal(500, answer.status)
  end)

  it("pages, and takes each token once", function()
    log_in()
    local seen, page = 0, call("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", names_of(view()))[1]
    local last
    while true do
      local objects <const> = children(page, "objects")
      assert.is_true(#objects <= 3)
      seen = seen + #objects
      last = child(page, "token")
      if not last then break end
      local token <const> = "<token>" .. last.text .. "</token>"
      page = call("ContinueRetrievePropertiesEx", "PropertyCollector", "propertyCollector", token)[1]
      assert.same(
        { nil, "InvalidArgument" },
        { call("ContinueRetrievePropertiesEx", "PropertyCollector", "propertyCollector", token) }
      )
    end
    assert.equal(7, seen)
  end)

  it("answers a read without a login with every property missing, and status 200", function()
    local read <const> = "<specSet><propSet><type>Folder</type><pathSet>name</pathSet></propSet><objectSet>"
      .. '<obj type="Folder">group-d1</obj></objectSet></specSet><options/>'
    local object <const> =
      child(call("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", read)[1], "objects")
    assert.is_nil(child(object, "propSet"))
    local fault <const> = child(child(child(object, "missingSet"), "fault"), "fault")
    assert.equal("NotAuthenticated", fault.attr["{http://www.w3.org/2001/XMLSchema-instance}type"])
  end)

  it("forgets views with the login that made them", function()
    log_in()
    local made <const> = view()
    local old <const> = cookie
    cookie = nil
    log_in()
    assert.same(
      { nil, "ManagedObjectNotFound" },
      { call("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", names_of(made)) }
    )
    cookie = old
    assert.is_truthy(call("Logout", "SessionManager", "SessionManager"))
    assert.same({ nil, "NotAuthenticated" }, { call("CurrentTime", "ServiceInstance", "ServiceInstance") })
  end)

  it("knows neither foreign methods nor foreign objects", function()
    log_in()
    assert.same({ nil, "MethodNotFound" }, { call("Frobnicate", "Folder", "group-d1") })
    assert.same({ nil, "ManagedObjectNotFound" }, { call("RetrieveManagedMethodExecuter", "HostSystem", "host-1") })
    assert.same({ nil, "InvalidRequest" }, { call("CurrentTime", "Folder", "group-d1") })
  end)

  local function wait(collector, version)
    local options <const> = "<options><maxWaitSeconds>5</maxWaitSeconds></options>"
    return call("WaitForUpdatesEx", "PropertyCollector", collector, "<version>" .. version .. "</version>" .. options)
  end

  it("tells the end of a task that failed after the request that began it", function()
    log_in()
    local begun -- as a request does, which ends long before
    task
      .spawn(function()
        begun = vc:start_task("lab.fail", vc.tree.root, function() error(vim.fault("InvalidState", "no")) end)
      end)
      :join()
    local collector <const> = call("CreatePropertyCollector", "PropertyCollector", "propertyCollector")[1].text
    local spec <const> = "<spec><propSet><type>Task</type><pathSet>info.state</pathSet></propSet><objectSet>"
      .. ('<obj type="Task">%s</obj></objectSet></spec><partialUpdates>false</partialUpdates>'):format(begun.id)
    assert.is_truthy(call("CreateFilter", "PropertyCollector", collector, spec))
    local version, state = "", nil
    while state ~= "error" do
      local set <const> = assert(wait(collector, version))[1]
      version = child(set, "version").text
      state = child(child(child(child(set, "filterSet"), "objectSet"), "changeSet"), "val").text
    end
    assert.same({ nil, "InvalidCollectorVersion" }, { wait(collector, "99") })
  end)

  it("tells one property with its type, and all logins", function()
    log_in()
    local value <const> = call("Fetch", "Folder", "group-d11", "<prop>name</prop>")[1]
    assert.equal("Folder 1", value.text)
    assert.equal("xsd:string", value.attr["{http://www.w3.org/2001/XMLSchema-instance}type"])
    local list <const> = call("Fetch", "SessionManager", "SessionManager", "<prop>sessionList</prop>")[1]
    assert.equal(USER, child(list[1], "userName").text)
  end)
end)
