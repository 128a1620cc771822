local peers <const> = require "support.vim_peer"
local secret <const> = require "lunalift.secret"
local task <const> = require "lunalift.task"
local vsphere <const> = require "lunalift.vsphere"

local HOST <const> = { type = "HostSystem", id = "host-1" }

describe("lunalift.vsphere", function()
  local peer
  local function open(answers)
    peer = peers.open(answers)
    return peer.session
  end
  after_each(function()
    if peer then peer.server:close() end
    peer = nil
  end)

  it("gives the service content at login", function()
    local content <const> = assert(open({}):login())
    assert.equal("VirtualCenter", content.about.apiType)
    assert.same({ type = "Folder", id = "group-d1" }, content.rootFolder)
    assert.matches("<password>p&amp;ss&lt;word&gt;</password>", peers.last(peer, "Login"), 1, true)
    assert.equal(2, peer.session:requests())
  end)

  it("writes arguments in the order given", function()
    local session <const> = open { Act = "" }
    local value, why = session:call("Act", "sessionManager", {
      { "name", "a & b" },
      { "count", 3 },
      { "on", true },
      { "ref", { type = "VirtualMachine", id = "vm-1", guid = "g" } },
      { "password", secret.new "geheim<" },
      { "left_out", nil },
      { "each", { "x", "y" } },
      { "none", {} },
      { "spec", { _type = "Spec", { "key", "k" }, { "value", 4096, "xsd:long" }, { "inner", { { "deep", 1 } } } } },
      { "plain", { { "only", 1 } } },
      { "many", { { _type = "A" }, { { "b", 1 } } } },
    }, { effect = true })
    assert.is_nil(why)
    assert.is_nil(value)
    assert.matches(
      '<_this type="SessionManager">SM</_this><name>a &amp; b</name><count>3</count><on>true</on>'
        .. '<ref type="VirtualMachine" serverGuid="g">vm-1</ref><password>geheim&lt;</password>'
        .. "<each>x</each><each>y</each>"
        .. '<spec xsi:type="Spec"><key>k</key><value xsi:type="xsd:long">4096</value><inner><deep>1</deep></inner></spec>'
        .. '<plain><only>1</only></plain><many xsi:type="A"></many><many><b>1</b></many></Act>',
      peers.last(peer, "Act"),
      1,
      true
    )
  end)

  it("reads values by their type", function()
    local session <const> = open {
      Read = [[<returnval xsi:type="Outer">
        <number xsi:type="xsd:int">-42</number><long xsi:type="xsd:long">9223372036854775807</long>
        <yes xsi:type="xsd:boolean">true</yes><no xsi:type="xsd:boolean">0</no>
        <text xsi:type="xsd:string">7</text><plain>8</plain><state xsi:type="TaskInfoState">running</state>
        <ref type="HostSystem" xsi:type="ManagedObjectReference">host-1</ref>
        <refs xsi:type="ArrayOfManagedObjectReference">
          <ManagedObjectReference type="Datastore" xsi:type="ManagedObjectReference">ds-1</ManagedObjectReference></refs>
        <names xsi:type="ArrayOfString"><string>a</string></names><ints xsi:type="ArrayOfInt"><int>1</int><int>2</int></ints>
        <empty xsi:type="ArrayOfString"/><disk xsi:type="HostScsiDisk"><uuid>1</uuid></disk>
        <devices xsi:type="ArrayOfVirtualDevice"><VirtualDevice xsi:type="VirtualDisk"><key>2000</key></VirtualDevice></devices>
        <byte>1</byte><byte>-2</byte><fault xsi:type="NotFound"/>
      </returnval>]],
    }
    local value <const> = assert(session:call("Read", HOST))
    assert.same({
      _type = "Outer",
      number = -42,
      long = math.maxinteger,
      yes = true,
      no = false,
      text = "7",
      plain = "8",
      state = "running",
      ref = HOST,
      refs = { { type = "Datastore", id = "ds-1" } },
      names = { "a" },
      ints = { 1, 2 },
      empty = {},
      disk = { _type = "HostScsiDisk", uuid = "1" },
      devices = { { _type = "VirtualDisk", key = "2000" } },
      byte = { "1", "-2" },
      fault = { _type = "NotFound" },
    }, value)
    assert.equal("integer", math.type(value.number))
  end)

  it("survives repeated elements that do not stand in a row", function()
    local session <const> = open {
      Read = [[<returnval xsi:type="Outer"><a>1</a><b>2</b><a>3</a><a>4</a></returnval>]],
    }
    assert.same({ _type = "Outer", a = { "3", "4" }, b = "2" }, session:call("Read", HOST))
  end)

  it("gives several return values as a list", function()
    local session <const> = open { Read = "<returnval>1</returnval><returnval>2</returnval>" }
    assert.same({ "1", "2" }, session:call("Read", HOST))
  end)

  it("makes a list of whatever a repeated field came as", function()
    assert.same({}, vsphere.list(nil))
    assert.same({}, vsphere.list {})
    assert.same({ "a" }, vsphere.list "a")
    assert.same({ "a", "b" }, vsphere.list { "a", "b" })
    assert.same({ { key = 1 } }, vsphere.list { key = 1 })
  end)

  it("says which fault it was", function()
    local session <const> = open { Read = peers.fault("ManagedObjectNotFound", "gone") }
    local value <const>, why <const> = session:call("Read", HOST)
    assert.is_nil(value)
    assert.equal("not_found", why.kind)
    assert.equal("ManagedObjectNotFound", why.fault)
    assert.matches("gone", why.message)
  end)

  it("sends an effect once when the login was lost, and a read again", function()
    local session <const> = open { Act = "", Read = "<returnval>1</returnval>" }
    assert(session:login())
    peer.cookie = 99
    local _, why = session:call("Act", HOST, nil, { effect = true })
    assert.is_true(why.refused)
    assert.equal(1, peers.count(peer, "Act"))
    peer.cookie = 199
    assert.equal("1", session:call("Read", HOST))
    assert.equal(2, peers.count(peer, "Read"))
  end)

  it("raises on misshapen arguments and names what is wrong", function()
    local session <const> = open {}
    for _, args in ipairs { { "x" }, { { 1, 2 } }, { { "f", print } }, "text" } do
      assert.error(function() session:call("Act", HOST, args) end)
    end
    assert.error(function() session:call("Act", { type = "HostSystem" }) end)
    assert.error_matches(function() session:call("Act", HOST, {}, { efect = true }) end, "effect")
    local _, why = session:call("Act", HOST, { { "text", "\1" } })
    assert.equal("config", why.kind)
    _, why = session:call("A b", HOST)
    assert.equal("config", why.kind)
    assert.equal(0, peers.count(peer, "Act"))
  end)

  it("retrieves properties, page by page", function()
    local function page(n, token)
      return ([[<returnval>%s<objects><obj type="VirtualMachine">vm-%d</obj>
        <propSet><name>name</name><val xsi:type="xsd:string">v</val></propSet>
        <missingSet><path>host</path><fault><fault xsi:type="NoPermission"/></fault></missingSet></objects></returnval>]]):format(
        token and "<token>" .. token .. "</token>" or "",
        n
      )
    end
    local session <const> = open {
      RetrievePropertiesEx = page(1, "t-1"),
      ContinueRetrievePropertiesEx = function(body)
        assert(body:find("<token>t-1</token>", 1, true))
        return page(2)
      end,
    }
    local found <const> = assert(session:retrieve {
      objects = { HOST },
      props = { VirtualMachine = { "name", "host" } },
      select = { { name = "up", type = "HostSystem", path = "vm", again = { "up" } } },
    })
    assert.same({
      { ref = { type = "VirtualMachine", id = "vm-1" }, props = { name = "v" }, missing = { host = "NoPermission" } },
      { ref = { type = "VirtualMachine", id = "vm-2" }, props = { name = "v" }, missing = { host = "NoPermission" } },
    }, found)
    assert.matches(
      '<_this type="PropertyCollector">pc</_this><specSet><propSet><type>VirtualMachine</type><all>false</all>'
        .. "<pathSet>name</pathSet><pathSet>host</pathSet></propSet>"
        .. '<objectSet><obj type="HostSystem">host-1</obj><skip>false</skip><selectSet xsi:type="TraversalSpec"><name>up</name>'
        .. "<type>HostSystem</type><path>vm</path><skip>false</skip><selectSet><name>up</name></selectSet></selectSet></objectSet>"
        .. "<reportMissingObjectsInResults>true</reportMissingObjectsInResults></specSet>"
        .. "<options><maxObjects>250</maxObjects></options>",
      peers.last(peer, "RetrievePropertiesEx"),
      1,
      true
    )
  end)

  it("starts over when the login is lost between two pages", function()
    local lost = true
    local session <const> = open {
      RetrievePropertiesEx = '<returnval><token>t</token><objects><obj type="T">1</obj></objects></returnval>',
      ContinueRetrievePropertiesEx = function()
        if lost then
          lost = false
          peer.cookie = peer.cookie + 100
          return peers.fault("NotAuthenticated", "lost")
        elseif peers.count(peer, "RetrievePropertiesEx") == 1 then
          return peers.fault("InvalidArgument", "no such token")
        end
        return '<returnval><objects><obj type="T">2</obj></objects></returnval>'
      end,
    }
    local found <const> = assert(session:retrieve { objects = { HOST }, props = { T = {} } })
    assert.same({ "1", "2" }, { found[1].ref.id, found[2].ref.id })
    assert.equal(2, #found)
    assert.equal(2, peers.count(peer, "RetrievePropertiesEx"))
  end)

  it("finds nothing where nothing is", function()
    local session <const> = open { RetrievePropertiesEx = "" }
    assert.same({}, session:retrieve { objects = { HOST }, props = { T = { "name" } } })
  end)

  it("reads a reply of megabytes", function()
    local object <const> =
      '<objects><obj type="T">1</obj><propSet><name>device</name><val xsi:type="ArrayOfX"><X><key>1</key></X></val></propSet></objects>'
    local n <const> = 5 * 1024 * 1024 // #object
    local session <const> = open { RetrievePropertiesEx = "<returnval>" .. object:rep(n) .. "</returnval>" }
    local found <const> = assert(session:retrieve { objects = { HOST }, props = { T = { "device" } } })
    assert.equal(n, #found)
    assert.equal("1", found[n].props.device[1].key)
  end)

  describe("esxcli", function()
    local function esxcli(response)
      return open {
        RetrieveManagedMethodExecuter = '<returnval type="ReflectManagedMethodExecuter">x</returnval>',
        ExecuteSoap = "<returnval><response>" .. peers.escape(response) .. "</response></returnval>",
      }
    end

    it("names and orders arguments as the wire wants them", function()
      local session <const> = esxcli '<obj xsi:type="xsd:string">done</obj>'
      local rows <const> = assert(
        session:esxcli(HOST, "a b", { ["source-vmdk"] = "x y", all = true, off = false, n = 3, list = { "1", "2" } })
      )
      assert.same({ { value = "done" } }, rows)
      local names <const> = {}
      for name in peers.last(peer, "ExecuteSoap"):gmatch "<argument><name>(%w+)" do
        names[#names + 1] = name
      end
      assert.same({ "all", "list", "n", "sourcevmdk" }, names)
      assert.matches("&lt;list&gt;1&lt;/list&gt;&lt;list&gt;2&lt;/list&gt;", peers.last(peer, "ExecuteSoap"), 1, true)
      assert.matches("&lt;all&gt;true&lt;", peers.last(peer, "ExecuteSoap"), 1, true)
    end)

    it("gives rows of text", function()
      local session = esxcli [[<obj xsi:type="ArrayOfDataObject">
        <DataObject xsi:type="Row"><Device>naa.1</Device><Size>20</Size><IsOn>true</IsOn>
          <Other>a</Other><Other>b</Other><In><X>1</X></In></DataObject>
        <DataObject xsi:type="Row"><Device>naa.2</Device></DataObject></obj>]]
      assert.same({
        { Device = "naa.1", Size = "20", IsOn = "true", Other = { "a", "b" }, In = { X = "1" } },
        { Device = "naa.2" },
      }, session:esxcli(HOST, "storage core device list"))
      peer.server:close()
      session = esxcli '<obj xsi:type="VimX"><status>0</status><message/></obj>'
      assert.same({ { status = "0", message = "" } }, session:esxcli(HOST, "a b"))
      peer.server:close()
      session = esxcli ""
      assert.same({}, session:esxcli(HOST, "a b"))
    end)

    it("is let go of when its task is cancelled, whatever it waits for", function()
      for n = 1, 5 do
        local session <const> = esxcli '<obj xsi:type="xsd:string">done</obj>'
        local child <const> = task.spawn(function() return session:esxcli(HOST, "a b") end)
        peer.on_call = function(count)
          if count == n then child:cancel "enough" end
        end
        local rows <const>, why <const> = child:wait()
        assert.is_nil(rows)
        assert.equal("cancelled", why.kind)
        assert.equal(n, #peer.calls)
        peer.on_call = nil
        assert.same({ { value = "done" } }, session:esxcli(HOST, "a b"))
        assert.equal(1, peers.count(peer, "Login"))
        peer.server:close()
      end
    end)

    it("says what the command said", function()
      local session <const> = open {
        RetrieveManagedMethodExecuter = '<returnval type="X">x</returnval>',
        ExecuteSoap = "<returnval><fault><faultMsg>m</faultMsg><faultDetail>"
          .. peers.escape [[<obj xsi:type="LocalizedMethodFault">
          <fault xsi:type="VimEsxCLICLIFault"><errMsg>no such device</errMsg></fault></obj>]]
          .. "</faultDetail></fault></returnval>",
      }
      local rows <const>, why <const> = session:esxcli(HOST, "storage core device list", { device = "x" })
      assert.is_nil(rows)
      assert.equal("failed", why.kind)
      assert.equal("CLIFault", why.fault)
      assert.matches("no such device", why.message)
    end)
  end)

  it("reads and writes datastore files", function()
    local seen
    local session <const> = open {
      GET = { body = "content\0binary" },
      PUT = function(body, request)
        seen = { body, request.path, request.query }
        return { status = 201 }
      end,
    }
    local file <const> = { dc = "DC", datastore = "ds 1", path = "a/b.vmdk" }
    assert.equal("content\0binary", session:get_file(file))
    file.content = "new"
    assert.is_true(session:put_file(file))
    assert.same({ "new", "/folder/a/b.vmdk", "dsName=ds%201&dcPath=DC" }, seen)
  end)

  it("logs out, once and again", function()
    local session <const> = open { Logout = "" }
    assert(session:login())
    assert.is_true(session:logout())
    assert.is_true(session:logout())
    assert.equal(1, peers.count(peer, "Logout"))
  end)

  it("refuses what is no host", function()
    local ok <const>, why <const> = pcall(vsphere.open, { host = "ftp://x", username = "u", password = secret.new "p" })
    assert.is_false(ok)
    assert.equal("config", why.kind)
    assert.is_string(why.hint)
    assert.error(function() vsphere.open { host = "x" } end)
  end)
end)
