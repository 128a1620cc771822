local fail <const> = require "lib.fail"
local secret <const> = require "lunalift.secret"
local stand_in <const> = require "spec.support.stand_in"

describe("the journal's home", function()
  local restore, journals, variables, files, locked, made

  before_each(function()
    variables, files, locked, made = { HOME = "/home/me" }, {}, {}, {}
    restore = stand_in.install {
      ["lunalift.env"] = stand_in.env(variables),
      ["lib.journal_lease"] = {
        open = function(_, claim) return { where = "Lease of " .. claim.uid } end,
      },
      ["lunalift.journal"] = {
        make_folder = function(path) made[#made + 1] = path end,
        lock = function(path)
          if path:find "^/read%-only/" then return nil, { kind = "config", message = "Read-only file system" } end
          if locked[path] then return nil, { kind = "busy", message = "process 12 has it" } end
          locked[path] = true
          return {
            close = function() locked[path] = nil end,
          }
        end,
        write = function(path, text)
          files[path] = text
          return true
        end,
        read = function(path)
          if files[path] then return files[path] end
          return nil, { kind = "not_found", message = "no such file" }
        end,
        remove = function(path)
          files[path] = nil
          return true
        end,
      },
    }
    journals = require "lib.journals"
  end)

  after_each(function() restore() end)

  local VOLUME <const> = { claim = { uid = "u-1" } }
  local function where(journal) return journals.of({ request = { journal = journal } }, VOLUME).where end

  local function raised(fn, ...)
    local ok <const>, why <const> = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_true(fail.is(why), tostring(why))
    return why
  end

  it("is the file that was asked for", function()
    assert.equal("file /tmp/j.json", where "file:/tmp/j.json")
    assert.equal("file /tmp/a:b.json", where "file:/tmp/a:b.json")
    assert.same({}, made) -- a folder that the user names is the user's to make
  end)

  it("is else a file of this user's state, named by the claim", function()
    assert.equal("file /home/me/.local/state/lunalift/u-1.json", where(nil))
    variables.XDG_STATE_HOME = "/state"
    assert.equal("file /state/lunalift/u-1.json", where "")
    assert.same({ "/home/me/.local/state/lunalift/u-1.json", "/state/lunalift/u-1.json" }, made)
  end)

  it("takes an empty XDG_STATE_HOME for none, as its specification says", function()
    variables.XDG_STATE_HOME = ""
    assert.equal("file /home/me/.local/state/lunalift/u-1.json", where(nil))
  end)

  it("is a Lease when that is asked for, and in a cluster by itself", function()
    assert.equal("Lease of u-1", where "lease")
    variables.KUBERNETES_SERVICE_HOST = "10.0.0.1"
    assert.equal("Lease of u-1", where(nil))
    assert.equal("file /tmp/j.json", where "file:/tmp/j.json")
    local elsewhere <const> = { request = { kubeconfig = "/home/me/.kube/config" } }
    assert.equal("file /home/me/.local/state/lunalift/u-1.json", journals.of(elsewhere, VOLUME).where)
  end)

  it("is not guessed when what was asked for makes no sense", function()
    for _, text in ipairs { "/tmp/j.json", "file:", "leese" } do
      local why <const> = raised(where, text)
      assert.equal("config", why.kind)
      assert.matches(text, why.message, 1, true)
    end
  end)

  it("is held by one run at a time; the other learns what to do", function()
    where "file:/tmp/j.json"
    local why <const> = raised(where, "file:/tmp/j.json")
    assert.equal("busy", why.kind)
    assert.equal("another run works on this volume (journal /tmp/j.json)", why.message)
    assert.equal("process 12 has it", why.cause.message)
    assert.equal("wait for it to end, or stop it", why.hint)
  end)

  it("blames no other run where nothing can be written", function()
    local why <const> = raised(where, "file:/read-only/j.json")
    assert.equal("no journal can be kept in /read-only/j.json", why.message)
    assert.equal("Read-only file system", why.cause.message)
  end)

  it("is free for the next run once it is closed", function()
    local journal <const> = journals.file "/tmp/j.json"
    journal:fence()
    journal:close()
    journals.file "/tmp/j.json"
  end)

  it("takes neither secrets nor more than 64 KiB, and keeps what it had", function()
    local journal <const> = journals.file "/tmp/j.json"
    journal:write { entries = {} }
    local why <const> = raised(journal.write, journal, { entries = {}, flow = ("x"):rep(64 << 10) })
    assert.equal("no_space", why.kind)
    assert.matches("more than 65536", why.message)
    local ok <const>, said <const> = pcall(journal.write, journal, { entries = {}, flow = secret.new "hunter2" })
    assert.is_false(ok)
    assert.is_nil(tostring(said):find "hunter2")
    assert.equal('{"entries":[],"v":1}', files["/tmp/j.json"])
  end)

  it("keeps what was written until it is cleared", function()
    local journal <const> = journals.file "/tmp/j.json"
    assert.is_nil(journal:read())
    journal:write { entries = { { n = 1, undo = "array.unmap", args = { number = 1 << 40 }, about = "" } } }
    assert.equal(1 << 40, journal:read().entries[1].args.number)
    journal:clear()
    assert.is_nil(journal:read())
  end)

  it("refuses what it cannot understand", function()
    local journal <const> = journals.file "/tmp/j.json"
    files["/tmp/j.json"] = '{"v":2,"entries":[]}'
    assert.equal("unsupported", raised(journal.read, journal).kind)
    for _, text in ipairs {
      '{"v":1}',
      '{"v":1,"entries":[{}]}',
      '{"v":1,"entries":[{"n":"1","undo":"x"}]}',
      '{"v":1,"entries":[7]}',
    } do
      files["/tmp/j.json"] = text
      assert.equal("protocol", raised(journal.read, journal).kind)
    end
    files["/tmp/j.json"] = '{"v":1,'
    assert.equal("the journal /tmp/j.json cannot be read", raised(journal.read, journal).message)
  end)
end)
