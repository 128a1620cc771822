module lunalift/tests/interop/powerflex/goscaleio

go 1.25.0

require github.com/dell/goscaleio v1.20.0

require (
	github.com/google/uuid v1.6.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)
