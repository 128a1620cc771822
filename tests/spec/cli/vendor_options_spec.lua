--- What each vendor that there is declares of its options is all that its settings are made of.
local arrays <const> = require "lib.arrays"
local fail <const> = require "lib.fail"
local secret <const> = require "lunalift.secret"
local stand_in <const> = require "spec.support.stand_in"
local vendor_doc <const> = require "lib.vendor_doc"

local names <const> = arrays.names()

local VALUES <const> = { string = "x", integer = "7", seconds = "1.5", bool = "true", secret = "s" }
local MEANS <const> = { string = "x", integer = 7, seconds = 1.5, bool = true }
local WRONG <const> = { integer = "x", seconds = "-1", bool = "perhaps" }

for _, name in ipairs(names) do
  describe("the options of " .. name, function()
    local vendor <const> = arrays.describe(name)
    local restore, variables, settings

    before_each(function()
      variables = {}
      for _, option in pairs(vendor.options) do
        if option.required then variables[option.env] = VALUES[option.type] end
      end
      restore = stand_in.install {
        ["lunalift.env"] = stand_in.env(variables),
        ["lib.arrays"] = { describe = function() return vendor end },
      }
      settings = require "lib.settings"
    end)

    after_each(function() restore() end)

    local function conf() return settings.array_conf { ["storage-vendor-product"] = name, ["storage-hostname"] = "box" } end

    local function refused()
      local ok <const>, why <const> = pcall(conf)
      assert.is_false(ok)
      assert.is_true(fail.is(why, "config"), tostring(why))
      return why
    end

    it("are on its page, in the help and in the Secret's template", function()
      local page <const>, help <const>, template <const> =
        vendor_doc.markdown(vendor), vendor_doc.help { vendor }, vendor_doc.secret(vendor, {})
      for _, option in pairs(vendor.options) do
        local first <const> = option.help:match "^[^;]*"
        for _, text in ipairs { page, help, template } do
          assert.is_truthy(text:find(option.env, 1, true), option.env)
          assert.is_truthy(text:find(first, 1, true), first)
        end
        local line <const> = (option.required and "  %s: " or "  # %s: "):format(option.env)
        assert.is_truthy(template:find(line, 1, true), line)
      end
    end)

    it("arrive by name and type, or as their defaults", function()
      for key, option in pairs(vendor.options) do
        if not option.required then assert.equal(option.default, conf()[key]) end
        variables[option.env] = option.choices and option.choices[#option.choices] or VALUES[option.type]
        local value <const> = conf()[key]
        if option.type == "secret" then
          assert.is_true(secret.is(value))
        else
          assert.equal(option.choices and option.choices[#option.choices] or MEANS[option.type], value)
        end
      end
    end)

    it("are refused where they are missing or empty, and that says what they are", function()
      for _, option in pairs(vendor.options) do
        for _, value in ipairs { false, "" } do
          variables[option.env] = value or nil
          if option.required then
            local why <const> = refused()
            assert.equal(("%s needs a value for %s"):format(name, option.env), why.message)
            assert.is_truthy(why.hint:find(option.help, 1, true), why.hint)
          else
            conf()
          end
        end
        variables[option.env] = option.required and VALUES[option.type] or nil
      end
    end)

    it("are refused where they are of another type, or none of the choices", function()
      for _, option in pairs(vendor.options) do
        variables[option.env] = option.choices and "no such choice" or WRONG[option.type]
        if variables[option.env] then
          local why <const> = refused()
          assert.is_truthy(why.message:find(option.env .. ": '" .. variables[option.env], 1, true), why.message)
          assert.is_truthy(why.hint:find(option.help, 1, true), why.hint)
        end
        variables[option.env] = option.required and VALUES[option.type] or nil
      end
    end)
  end)
end
