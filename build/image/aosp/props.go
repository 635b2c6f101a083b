package aosp

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"mios"
	"mios/format/targetfiles"
)

// props are properties as a device sees them: of several files, the first that
// has one counts, as init does for those that are read-only.
type props map[string]string

// propFiles are where a build's properties are.
var propFiles = []string{
	"SYSTEM/build.prop", "SYSTEM_EXT/etc/build.prop", "SYSTEM_EXT/build.prop", "VENDOR/build.prop", "VENDOR/default.prop", "ODM/etc/build.prop",
	"PRODUCT/etc/build.prop", "PRODUCT/build.prop",
}

func readProps(src *source) (props, error) {
	p, found := props{}, false
	for _, name := range propFiles {
		b, err := src.readAll(name, maxText)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		d, err := targetfiles.ParseProps(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		found = true
		for k, v := range d.All() {
			if _, ok := p[k]; !ok {
				p[k] = v
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("no build.prop in SYSTEM: %w: want the target-files of a whole build", mios.ErrInvalid)
	}
	return p, nil
}

// get returns a property; those of a build may have the name of a partition.
func (p props) get(name string) string {
	if v := p[name]; v != "" {
		return v
	}
	if rest, ok := strings.CutPrefix(name, "ro.build."); ok {
		return p["ro.system.build."+rest]
	}
	return ""
}

func (p props) number(name string) (int64, error) {
	n, err := strconv.ParseInt(p.get(name), 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("property %s of the build is %q, want a number of seconds: %w: give a build time", name, p.get(name), mios.ErrInvalid)
	}
	return n, nil
}

// abi returns the first ABI that the build says it is for.
func (p props) abi() string {
	for _, name := range []string{"ro.product.cpu.abilist", "ro.vendor.product.cpu.abilist", "ro.system.product.cpu.abilist", "ro.product.cpu.abi"} {
		if v := p[name]; v != "" {
			first, _, _ := strings.Cut(v, ",")
			return first
		}
	}
	return ""
}

// setProps changes properties of a partition's build.prop.
func (b *builder) setProps(partition string, set [][2]string) error {
	if len(set) == 0 {
		return nil
	}
	name := "etc/build.prop"
	old, err := b.read(partition, name)
	if errors.Is(err, fs.ErrNotExist) {
		if old, err = b.read(partition, "build.prop"); err == nil {
			name = "build.prop"
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d, err := targetfiles.ParseProps(old)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", name, partition, err)
	}
	for _, p := range set {
		d.Set(p[0], p[1])
	}
	return b.add(partition, name, &addition{data: d.Bytes(), replace: true})
}

// branding sets the product's names, the release's timestamp, and those
// endpoints that are properties.
func (b *builder) branding() error {
	var set [][2]string
	for _, p := range [][2]string{
		{"brand", b.Product.Brand.Brand}, {"manufacturer", b.Product.Brand.Manufacturer}, {"model", b.Product.Brand.Model},
		{"name", b.Product.Brand.Name}, {"device", b.Product.Brand.Device},
	} {
		if p[1] != "" {
			set = append(set, [2]string{"ro.product.product." + p[0], p[1]}) // the first that init asks
		}
	}
	if host := b.Product.Endpoints.Provisioning; host != "" {
		set = append(set, [2]string{"remote_provisioning.hostname", host})
		b.applied("remote_provisioning", "property", "/product/etc/build.prop", "remote_provisioning.hostname")
	}
	if err := b.setProps("product", set); err != nil {
		return err
	}
	if b.BuildTime.IsZero() {
		return nil
	}
	date := strconv.FormatInt(b.BuildTime.Unix(), 10)
	return b.setProps("system", [][2]string{{"ro.build.date.utc", date}, {"ro.system.build.date.utc", date}})
}
