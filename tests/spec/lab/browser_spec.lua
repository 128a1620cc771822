local browser <const> = require "lab.browser"
local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"
local vim <const> = require "lab.vim"

describe("the lab's datastore browser", function()
  local dir, datastore

  before_each(function()
    dir = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
    datastore = { moref = "datastore-1", name = "ds 1", folder = dir }
    assert(fs.mkdir(dir .. "/vm 1"))
    for _, name in ipairs { "a.vmdk", "a-flat.vmdk", "b-flat.vmdk", "x-rdmdisk-1", "x-rdmdisk-1-rdm.vmdk" } do
      assert(fs.write(dir .. "/vm 1/" .. name, name))
    end
  end)

  after_each(function() process.run { argv = { "rm", "-rf", dir } } end)

  local function search(path, ...)
    local found <const> = {}
    for _, folder in ipairs(browser.search(datastore, path, { matchPattern = { ... } }, true).items) do
      for _, file in ipairs(vim.field(folder, "file").items) do
        found[#found + 1] = vim.field(folder, "folderPath") .. vim.field(file, "path")
      end
    end
    table.sort(found)
    return found
  end

  local function fault_of(...)
    local ok <const>, why <const> = pcall(...)
    return not ok and why.fault
  end

  it("shows files of all folders by glob, but no extent beside its descriptor", function()
    assert.same({ "[ds 1] vm 1/x-rdmdisk-1", "[ds 1] vm 1/x-rdmdisk-1-rdm.vmdk" }, search("[ds 1]", "*-rdmdisk-*"))
    assert.same({ "[ds 1] vm 1/a.vmdk", "[ds 1] vm 1/b-flat.vmdk" }, search("[ds 1] vm 1", "?.vmdk", "?-flat.vmdk"))
    assert.same({}, search("[ds 1]", "none*"))
    assert.equal("FileNotFound", fault_of(search, "[ds 1] none", "*"))
    assert.equal("FileNotFound", fault_of(search, "[ds 2]", "*"))
  end)

  it("shows one folder, what is below it, and how large it is", function()
    local top <const> = vim.field(browser.search(datastore, "[ds 1]", {}, false), "file").items
    assert.same({ "vm 1" }, { vim.field(top[1], "path") })
    local spec <const> = { matchPattern = { "a.vmdk" }, details = { fileSize = true } }
    local files <const> = vim.field(browser.search(datastore, "[ds 1] vm 1", spec, false), "file").items
    assert.same({ 1, "6" }, { #files, vim.field(files[1], "fileSize").text })
  end)

  it("deletes one file", function()
    browser.delete({ datastore }, "[ds 1] vm 1/a.vmdk")
    assert.same({ "[ds 1] vm 1/a-flat.vmdk" }, search("[ds 1]", "a*"))
    assert.equal("FileNotFound", fault_of(browser.delete, { datastore }, "[ds 1] vm 1/a.vmdk"))
    assert.equal("CannotDeleteFile", fault_of(browser.delete, { datastore }, "[ds 1] vm 1"))
    assert.equal("InvalidDatastore", fault_of(browser.delete, { datastore }, "[ds 2] vm 1/a-flat.vmdk"))
  end)
end)
