local codec <const> = require "lunalift.codec"
local check <const> = require "lib.flow_check"
local fs <const> = require "lunalift.fs"
local script <const> = require "lunalift.script"

describe("the check of a flow", function()
  local path

  before_each(function() path = ("/tmp/lunalift-flow-%s.lua"):format(codec.uuid()) end)
  after_each(function() fs.remove(path) end)

  -- Problems of a flow whose body is these lines, the first of which is line 3.
  local function body(text)
    assert(fs.write(path, 'local fail <const> = require "lib.fail"\nreturn function(job)\n' .. text .. "\nend\n"))
    return check.file(path)
  end

  local function only(problems, line, pattern)
    assert.equal(1, #problems, problems[2] and problems[2].text)
    assert.equal(line, problems[1].line)
    assert.matches(pattern, problems[1].text)
  end

  it("finds nothing in the flows that are built in", function()
    for _, file in ipairs(script.list "flows") do
      assert.same({}, check.file(file.path))
    end
  end)

  it(
    "finds nothing in a plain flow",
    function()
      assert.same(
        {},
        body [[
  job:step "open both ends"
  job:promise("array.unmap", {}, "")
  local io_count = 1
  job.facts.print = io_count]]
      )
    end
  )

  it("tells a mistake of grammar with its line", function() only(body "  job:step = 5", 3, "expected near") end)

  it("tells a file that is not there", function() only(check.file "/nowhere/flow.lua", 1, "/nowhere/flow.lua") end)

  it("tells a script that does not exist", function()
    only(body '  local x = require "lib.tpyo"', 3, "no script 'lib.tpyo'")
    only(body "\n  local x = require('lib.tpyo')", 4, "no script 'lib.tpyo'")
    assert.same({}, body '  local timer = require "lunalift.timer"')
  end)

  it("tells a method that a job has not, with the nearest that it has", function()
    only(body '\n  job:stepp "one"', 4, "a job has no stepp: did you mean step%?")
    only(body '  job:frobnicate "one"', 3, "a job has no frobnicate$")
  end)

  it(
    "tells a promise that nobody can keep",
    function()
      only(
        body '  job:promise("array.umap", {}, "")',
        3,
        "nobody knows how to undo 'array.umap': did you mean array.unmap%?"
      )
    end
  )

  it("tells what flows are not offered, and what to use instead", function()
    only(body '  io.write("x")', 3, "io: .*job:found")
    only(body '  print "x"', 3, "print: use job:found")
    only(body "  print('x')", 3, "print: use job:found")
    only(body "  print { 1 }", 3, "print: use job:found")
    only(body "  debug.traceback()", 3, "debug: ")
    only(body '  dofile "x.lua"', 3, "dofile: use require")
    only(body '  load("x")()', 3, "load: ")
    only(body "  coroutine.yield()", 3, "coroutine: use lunalift.task")
  end)

  it(
    "takes no comment or string for code",
    function()
      assert.same(
        {},
        body [[
  -- print "x", job:stepp, require "lib.tpyo", job:promise("array.umap")
  job:step "print (job:stepp)" -- io.read()
  job:step 'io.read() -- it''s'
  job:step "a -- b" job:step "don't print(x)"]]
      )
    end
  )

  it(
    "reads on behind a string that looks like a comment",
    function() only(body '  job:step "a -- b" job:stepp "c"', 3, "stepp") end
  )

  it("tells that nothing is returned to run", function()
    assert(fs.write(path, "local x = 1\nreturn x\n"))
    only(check.file(path), 2, "a flow returns its function")
  end)

  it("tells all problems, in the order of their lines", function()
    local problems <const> = body '  job:stepp "x"\n  print "y"\n  require "lib.tpyo"'
    assert.same({ 3, 4, 5 }, { problems[1].line, problems[2].line, problems[3].line })
  end)
end)
