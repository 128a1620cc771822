--- The array that the broken vendor script is tried on.
return require "lab.primera3par"
