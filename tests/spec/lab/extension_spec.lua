local extension <const> = require "lab.extension"

describe("an execute line", function()
  it("gets the arguments pasted in as they are, quotes and all", function()
    local line <const> = "/opt/x --clone -s '$val{source-vmdk}' -t '$val{target-lun}'"
    local args <const> = { ["source-vmdk"] = "/vmfs/O'Neil/$(date)/%1.vmdk", ["target-lun"] = "naa.1" }
    assert.equal("/opt/x --clone -s '/vmfs/O'Neil/$(date)/%1.vmdk' -t 'naa.1'", extension.expand(line, args))
  end)

  it(
    "does not read an argument as another placeholder",
    function() assert.equal("a $val{y} b", extension.expand("a $val{x} b", { x = "$val{y}", y = "no" })) end
  )

  it("takes a conditional part only when its argument was given", function()
    local line <const> = "x --clone$if{task-id, -i '$val{task-id}'} end"
    assert.equal("x --clone -i 'abc' end", extension.expand(line, { ["task-id"] = "abc" }))
    assert.equal("x --clone end", extension.expand(line, {}))
  end)

  it(
    "leaves nothing where an optional argument is missing",
    function() assert.equal("x ''", extension.expand("x '$val{id}'", {})) end
  )
end)

local function node(name, attr, ...)
  local made <const> = { name = name, ns = "", text = "", attr = attr or {} }
  for i, child in ipairs { ... } do
    made[i] = child
  end
  return made
end

local function text(name, content)
  local made <const> = node(name)
  made.text = content
  return made
end

describe("an extension", function()
  it("becomes commands with parameters named as SOAP names them", function()
    local root <const> = node(
      "plugin",
      {},
      node(
        "commands",
        {},
        node(
          "command",
          { path = "vmkfstools.clone" },
          text("description", "Start"),
          node("input-spec", {}, node("parameter", { name = "source-vmdk", shortname = "s", required = "true" })),
          node("output-spec", {}, node("structure", { typeName = "result" })),
          text("execute", "  /opt/x -s '$val{source-vmdk}'\n")
        )
      )
    )
    local command <const> = extension.commands(root)[1]
    assert.same({ "vmkfstools", "clone" }, command.words)
    assert.equal("VimEsxCLIvmkfstoolscloneresult", command.type)
    assert.equal("sourcevmdk", command.params[1].wire)
    assert.equal("/opt/x -s '$val{source-vmdk}'", command.execute)
  end)

  it("takes a structure from what a command printed, and nothing else", function()
    local printed <const> = node(
      "output",
      {},
      node(
        "structure",
        { typeName = "result" },
        node("field", { name = "status" }, text("string", "0")),
        node("field", { name = "message" })
      )
    )
    assert.same({ { "status", "0" }, { "message", "" } }, extension.result(printed))
    assert.is_nil(extension.result(node "html"))
    assert.is_nil(extension.result(nil))
  end)
end)
