// Package product reads product definitions: the one YAML file from which a
// product's images are built.
package product

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mios"
	"mios/api"
	"mios/internal/strictyaml"
)

// A Product is a product definition.
type Product struct {
	Name  string      `yaml:"product"` // ro.product.name
	Class string      `yaml:"class"`   // phone, watch, iot or car
	Base  string      `yaml:"base"`    // core or aosp
	Arch  []mios.Arch `yaml:"arch"`

	Kernel     Kernel     `yaml:"kernel"`
	Partitions Partitions `yaml:"partitions"`
	Keys       Keys       `yaml:"keys"`

	Repository []string `yaml:"repository"` // addresses, tried in turn
	Hosts      []string `yaml:"hosts"`      // all that the device may talk to on its own account
	Channel    string   `yaml:"channel"`
	Regions    []string `yaml:"regions"` // ISO 3166 codes that it ships in

	// TrustStore is the file, beside the definition, with the certificates of
	// the authorities that the device trusts for TLS, in PEM. Without one it
	// trusts none.
	TrustStore string `yaml:"trust_store"`
	CACerts    []byte `yaml:"-"` // what is in that file; [Load] reads it

	// Of base aosp only:
	AOSP      AOSP      `yaml:"aosp"`
	Apps      []App     `yaml:"apps"`
	Brand     Brand     `yaml:"brand"`
	Endpoints Endpoints `yaml:"endpoints"`

	Dir    string `yaml:"-"` // folder of the definition; [Load] sets it
	Source []byte `yaml:"-"` // the definition itself

	// RollbackIndex is AVB's, for both slots: raise it when older builds must
	// never boot again.
	RollbackIndex uint64 `yaml:"rollback_index"`

	Update Update        `yaml:"update"`
	Store  Store         `yaml:"store"`
	Health []HealthCheck `yaml:"health"`
}

// Kernel says which kernel a product boots, and with what.
type Kernel struct {
	Line    string  `yaml:"line"`    // of Debian's kernel packages
	Cmdline string  `yaml:"cmdline"` // the console is added by architecture
	Modules Modules `yaml:"modules"`
}

// Modules lists modules by when they are loaded; what they need is added.
type Modules struct {
	ROM   []string `yaml:"rom"`   // by the loader
	Early []string `yaml:"early"` // by the first stage, from the ramdisk
	Late  []string `yaml:"late"`  // by init, from the system partition
}

// Partitions holds the partitions' sizes in bytes.
type Partitions struct {
	Boot     Size `yaml:"boot"`   // of each slot
	Super    Size `yaml:"super"`  // holds both slots' system
	System   Size `yaml:"system"` // of each slot
	Userdata Size `yaml:"userdata"`
}

// Keys names the keys that play a role, where a product does not use those
// that are named after the role: "avb-watch" for "avb".
type Keys struct {
	AVB string `yaml:"avb"`
	OTA string `yaml:"ota"`
}

// Update says how devices update themselves.
type Update struct {
	Interval       Duration `yaml:"interval"`
	MaxMetadataAge Duration `yaml:"max_metadata_age"`
	AutoReboot     bool     `yaml:"auto_reboot"`
	Budget         Size     `yaml:"budget"`
}

// Store is an [api.Apps] as people write it: how devices keep apps up to date
// that come from the repository.
type Store struct {
	Interval Duration `yaml:"interval"`
	Budget   Size     `yaml:"budget"`
	Period   Duration `yaml:"period"`
	Track    string   `yaml:"track"`
	Features []string `yaml:"features"`
	Locales  []string `yaml:"locales"`
	Density  int      `yaml:"density"`
}

func (s *Store) api() api.Apps {
	return api.Apps{
		Interval: s.Interval.seconds(), Budget: int64(s.Budget), Period: s.Period.seconds(),
		Track: s.Track, Features: s.Features, Locales: s.Locales, Density: s.Density,
	}
}

// A HealthCheck is an [api.HealthCheck] as people write it.
type HealthCheck struct {
	Name     string   `yaml:"name"`
	Service  string   `yaml:"service"`
	Property string   `yaml:"property"`
	HTTP     string   `yaml:"http"`
	Exec     []string `yaml:"exec"`
	Outside  bool     `yaml:"outside"` // depends on what is around the device, such as a network
	Timeout  Duration `yaml:"timeout"`
}

const maxFile = 1 << 20

// Load reads the definition in the file at path.
func Load(path string) (*Product, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s: product definition of more than %d bytes: %w", path, maxFile, mios.ErrInvalid)
	}
	p, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	p.Dir = filepath.Dir(path)
	return p, p.loadTrustStore(p.Dir)
}

// Path returns the path of a file that the definition names.
func (p *Product) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.Dir, name)
}

// loadTrustStore reads the certificates beside the definition.
func (p *Product) loadTrustStore(dir string) error {
	if p.TrustStore == "" {
		return nil
	}
	b, err := fs.ReadFile(os.DirFS(dir), p.TrustStore)
	if err != nil {
		return fmt.Errorf("trust_store: %w: want the name of a file beside the definition", err)
	}
	n := 0
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); block.Type != "CERTIFICATE" || err != nil {
			return fmt.Errorf("trust_store %s: block %d is a %s, want a CERTIFICATE (%v): %w", p.TrustStore, n+1, block.Type, err, mios.ErrInvalid)
		}
		n++
	}
	if n == 0 {
		return fmt.Errorf("trust_store %s: no certificate in PEM in it: %w: leave trust_store out for a device that trusts none", p.TrustStore, mios.ErrInvalid)
	}
	p.CACerts = b
	return nil
}

// Parse reads a definition. An unknown field, a field twice, a value of the
// wrong kind and one that cannot be are errors that begin with line and column,
// "12:3: …".
func Parse(b []byte) (*Product, error) {
	p := &Product{
		Source:  slices.Clone(b),
		Kernel:  Kernel{Line: "linux-image-6.1-cloud"},
		Keys:    Keys{AVB: "avb", OTA: "ota"},
		Channel: "stable",
		Update:  Update{Interval: Duration(6 * time.Hour), MaxMetadataAge: Duration(7 * 24 * time.Hour)},
	}
	if err := strictyaml.Unmarshal(b, p); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		line, column := place(b, err.path)
		return nil, fmt.Errorf("%d:%d: %s: %w", line, column, err.msg, mios.ErrInvalid)
	}
	return p, nil
}

// Device returns the description that goes into a build's system image.
func (p *Product) Device(arch mios.Arch, variant, version string, buildTime int64) *api.Device {
	d := &api.Device{
		Product: p.Name, Class: p.Class, Arch: arch, Variant: variant, Version: version, BuildTime: buildTime,
		Channel: p.Channel, Regions: p.Regions, Repository: p.Repository, Hosts: p.Hosts,
		MaxMetadataAge: p.Update.MaxMetadataAge.seconds(),
		Update: api.Update{
			Interval: p.Update.Interval.seconds(), AutoReboot: p.Update.AutoReboot, Budget: int64(p.Update.Budget),
		},
		Apps: p.Store.api(),
	}
	for _, h := range p.Health {
		d.Health = append(d.Health, h.api())
	}
	return d
}

func (h HealthCheck) api() api.HealthCheck {
	return api.HealthCheck{
		Name: h.Name, Service: h.Service, Property: h.Property, HTTP: h.HTTP, Exec: h.Exec, Outside: h.Outside, Timeout: h.Timeout.seconds(),
	}
}
