--- Loops while it is being loaded, and would not be stopped.
while true do
  pcall(function()
    while true do
    end
  end)
end
