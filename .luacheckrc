std = "lua54"
max_line_length = 140
ignore = { "211/_.*", "212/_.*", "212/self" }
exclude_files = { "bindings/meta", "build*", "tests/interop/**/node_modules" }
files["tests/spec"] = { std = "+busted" }
files["tests/lab"] = { std = "+busted" }
files["tests/interop"] = { std = "+busted" }
