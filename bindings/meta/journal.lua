---@meta lunalift.journal
--- A small text on disk that is either old or new.
---@class lunalift.journal
local journal = {}

---@class JournalLock
local JournalLock = {}
function JournalLock:close() end

---@return boolean? done
---@return Fail? why
function journal.write(path, text) end
---@return string? text nil and not_found when there is none
---@return Fail? why
function journal.read(path) end
---@return boolean? done
---@return Fail? why
function journal.remove(path) end
--- Make the folders that the file lies in, for this user alone, where they are missing.
function journal.make_folder(path) end
--- Can a file be written there, as things are now? The failure names the folder.
---@param path string
---@param makes_folder? boolean missing folders will be made
---@return boolean? writable
---@return Fail? why
function journal.writable(path, makes_folder) end
--- Names of the journals in a folder: files that end with .json and are no receipts. Unsorted; empty when there is no such folder.
---@return string[]? names
---@return Fail? why
function journal.list(folder) end
--- Held until the returned value is closed; nil and a busy failure, naming the holder, when another process has it.
---@return JournalLock? lock
---@return Fail? why
function journal.lock(path) end

return journal
