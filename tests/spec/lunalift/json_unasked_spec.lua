-- A vendor's state never asked for lunalift.json, and every answer of its array came without `json`.
local http <const> = require "lunalift.http"
local server <const> = require "lunalift.server"

describe("a state in which nobody asked for lunalift.json", function()
  it("has the JSON of an answer decoded, and of a request encoded", function()
    local sent
    local there <const> = assert(server.listen {
      on_request = function(request)
        sent = request.body
        return { headers = { ["Content-Type"] = "application/hal+json" }, body = '{"records":[{"n":1}]}' }
      end,
    })
    local client <const> = http.client { base = "http://127.0.0.1:" .. there.port }
    local reply <const> = assert(client:post("/", { json = { b = 1, a = { "x" } } }))
    assert.same({ records = { { n = 1 } } }, reply.json)
    assert.equal('{"a":["x"],"b":1}', sent)
    there:close()
  end)
end)
