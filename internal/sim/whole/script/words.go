package script

import (
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
)

// HandleOf is what the guard can cut a part off by.
func HandleOf(name instance.Name, p *spec.Part) string {
	if p.Address != nil {
		return p.Address.Prefix + "%eth0"
	}
	return "/cg/" + string(name) + "/" + p.Name
}

// Standing is a service, in a role or in any.
type Standing struct {
	Service spec.ServiceName
	Role    spec.Role
}
