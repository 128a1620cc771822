error { "a list is no failure", [true] = "nor is this" }
