package product

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"mios/api"
	"mios/api/repo"
	"mios/key"
)

// A fieldError says what is wrong with a field.
type fieldError struct {
	path string // of the field, as a YAMLPath: "$.health[1]"
	msg  string
}

func wrongField(path, format string, args ...any) *fieldError {
	return &fieldError{path, fmt.Sprintf(format, args...)}
}

// check finds what each field allows, and the product cannot be.
func (p *Product) check() *fieldError {
	for _, name := range []struct{ field, value string }{{"product", p.Name}, {"channel", p.Channel}} {
		if err := repo.CheckName(name.value); err != nil {
			return wrongField("$."+name.field, "%s: %v", name.field, err)
		}
	}
	switch {
	case !slices.Contains([]string{"phone", "watch", "iot", "car"}, p.Class):
		return wrongField("$.class", "class is %q, want phone, watch, iot or car", p.Class)
	case p.Base != BaseCore && p.Base != BaseAOSP:
		return wrongField("$.base", "base is %q, want core or aosp", p.Base)
	case len(p.Arch) == 0:
		return wrongField("$.arch", "arch is empty, want amd64, arm64 or both")
	case p.Update.MaxMetadataAge <= 0:
		return wrongField("$.update.max_metadata_age", "update.max_metadata_age is not above zero")
	}
	for i, a := range p.Arch {
		if a.ABI() == "" {
			return wrongField(fmt.Sprintf("$.arch[%d]", i), "arch %q, want amd64 or arm64", a)
		}
	}
	for i, r := range p.Regions {
		if err := api.CheckRegion(r); err != nil {
			return wrongField(fmt.Sprintf("$.regions[%d]", i), "%v", err)
		}
	}
	for _, k := range [][2]string{{key.AVB, p.Keys.AVB}, {key.OTA, p.Keys.OTA}} {
		role, name := k[0], k[1]
		if r, err := key.RoleOf(name); err != nil || r.Name != role {
			return wrongField("$.keys."+role, "keys.%s is %q, want %s, or %s-NAME for a key of the product's own", role, name, role, role)
		}
	}
	if err := p.checkBase(); err != nil {
		return err
	}
	if err := p.checkRepository(); err != nil {
		return err
	}
	store := api.Device{Product: p.Name, Arch: p.Arch[0], Variant: "user", BuildTime: 1, MaxMetadataAge: 1, Apps: p.Store.api()}
	if err := store.Check(); err != nil {
		return wrongField("$.store", "%v", err)
	}
	for i := range p.Health {
		h := p.Health[i].api()
		if err := (&api.Device{Product: p.Name, Arch: p.Arch[0], Variant: "user", BuildTime: 1, MaxMetadataAge: 1, Health: []api.HealthCheck{h}}).Check(); err != nil {
			return wrongField(fmt.Sprintf("$.health[%d]", i), "%v", err)
		}
	}
	return nil
}

// checkBase checks what only products of one base have.
func (p *Product) checkBase() *fieldError {
	if p.Base == BaseAOSP {
		return p.checkAOSP()
	}
	for _, f := range []struct {
		field string
		set   bool
	}{
		{"aosp", p.AOSP.TargetFiles != "" || p.AOSP.Keys != nil || p.AOSP.Remove != nil}, {"apps", p.Apps != nil},
		{"brand", p.Brand != Brand{}}, {"endpoints", p.Endpoints.set()},
	} {
		if f.set {
			return wrongField("$."+f.field, "%s is for base aosp", f.field)
		}
	}
	return p.Partitions.check()
}

func (p *Product) checkRepository() *fieldError {
	if len(p.Repository) == 0 {
		return wrongField("$.repository", "repository is empty: the device would never find an update")
	}
	for i, r := range p.Repository {
		path := fmt.Sprintf("$.repository[%d]", i)
		u, err := url.Parse(r)
		if err != nil || u.Hostname() == "" {
			return wrongField(path, "repository %q is not an address", r)
		}
		if !slices.Contains(p.Hosts, u.Hostname()) {
			return wrongField(path, "repository %q: host %q is not among hosts", r, u.Hostname())
		}
	}
	return nil
}

// maxPartition is more than any device has, and far from where sums run over.
const maxPartition Size = 16 << 40

func (s Partitions) check() *fieldError {
	for _, p := range []struct {
		name string
		size Size
	}{{"boot", s.Boot}, {"super", s.Super}, {"system", s.System}, {"userdata", s.Userdata}} {
		if p.size <= 0 || p.size%(1<<20) != 0 || p.size > maxPartition {
			return wrongField("$.partitions."+p.name, "partitions.%s is %v, want a multiple of 1 MiB up to %v", p.name, p.size, maxPartition)
		}
	}
	if need := 2*s.System + 2<<20; s.Super < need {
		return wrongField("$.partitions.super", "partitions.super is %v, want at least %v: two of system and 2 MiB of metadata", s.Super, need)
	}
	return nil
}

// place returns line and column of a field's value in the definition; of what
// the field belongs to if it is not there.
func place(b []byte, path string) (line, column int) {
	f, err := parser.ParseBytes(b, 0)
	if err != nil {
		return 1, 1
	}
	for ; path != "$"; path = path[:strings.LastIndexAny(path, ".[")] {
		p, err := yaml.PathString(path)
		if err != nil {
			return 1, 1
		}
		n, err := p.FilterFile(f)
		if err != nil || n == nil {
			continue
		}
		if m, ok := n.(ast.MapNode); ok {
			if i := m.MapRange(); i.Next() {
				n = i.Key()
			}
		}
		if t := n.GetToken(); t != nil && t.Position != nil {
			return t.Position.Line, t.Position.Column
		}
	}
	return 1, 1
}
