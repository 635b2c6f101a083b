package input

import (
	"fmt"
	"io/fs"
	"strconv"

	"mios"
	"mios/format/erofs"
	"mios/format/ext4"
	"mios/format/otazip"
	"mios/format/payload"
	"mios/format/targetfiles"
)

// sources are the partitions that ro.product.* is taken from, the first first
// (releasetools' common.py, BuildInfo).
var sources = []string{"product", "odm", "vendor", "system_ext", "system"}

// state says what the build's properties, by partition, make of a device.
func (b *Build) state(props map[string]*targetfiles.Dict) {
	system := props["system"]
	if system == nil {
		return
	}
	s := &b.State
	product := func(what string) string {
		if v := system.Get("ro.product." + what); v != "" {
			return v
		}
		for _, part := range sources {
			if v := props[part]; v != nil && v.Get("ro.product."+part+"."+what) != "" {
				return v.Get("ro.product." + part + "." + what)
			}
		}
		return ""
	}
	release := system.Get("ro.build.version.release_or_codename")
	if release == "" {
		release = system.Get("ro.build.version.release")
	}
	print := system.Get("ro.build.fingerprint")
	if print == "" && system.Get("ro.build.id") != "" {
		print = fmt.Sprintf("%s/%s/%s:%s/%s/%s:%s/%s", product("brand"), product("name"), product("device"), release,
			system.Get("ro.build.id"), system.Get("ro.build.version.incremental"), system.Get("ro.build.type"), system.Get("ro.build.tags"))
	}
	if d := product("device"); d != "" {
		s.Device = []string{d}
	}
	if print != "" {
		s.Build = []string{print}
	}
	s.Incremental = system.Get("ro.build.version.incremental")
	s.SDKLevel = system.Get("ro.build.version.sdk")
	s.SecurityPatch = system.Get("ro.build.version.security_patch")
	s.Timestamp, _ = strconv.ParseInt(system.Get("ro.build.date.utc"), 10, 64)
	for i := range b.Partitions {
		name := b.Partitions[i].Header.Name
		p := props[name]
		if p == nil {
			continue
		}
		ps := otazip.PartitionState{Name: name, Version: p.Get("ro." + name + ".build.date.utc")}
		if v := p.Get("ro.product." + name + ".device"); v != "" {
			ps.Device = []string{v}
		}
		if v := p.Get("ro." + name + ".build.fingerprint"); v != "" {
			ps.Build = []string{v}
		}
		s.Partitions = append(s.Partitions, ps)
	}
}

// ReadState fills in State from the properties in the system image, if the build
// is images only. An image that cannot be read says nothing.
func (b *Build) ReadState() error {
	p := b.Find("system")
	if p == nil || len(b.State.Device) > 0 {
		return nil
	}
	var files fs.FS
	if im, err := erofs.Open(p, p.Size); err == nil {
		files = im
	} else if im, err := ext4.Open(p, p.Size); err == nil {
		files = im
	} else {
		return nil
	}
	for _, name := range []string{"system/build.prop", "build.prop"} {
		fi, err := fs.Stat(files, name)
		if err != nil || fi.Size() > maxMeta {
			continue
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("partition system: %s: %w", name, err)
		}
		d, err := targetfiles.ParseProps(data)
		if err != nil {
			return fmt.Errorf("partition system: %s: %v: %w", name, err, mios.ErrInvalid)
		}
		b.state(map[string]*targetfiles.Dict{"system": d})
		return nil
	}
	return nil
}

// packed reads what a target-files says of APEXes, and has for the package of an
// update.
func (b *Build) packed(read func(string) ([]byte, error)) error {
	care, err := read(targetfiles.CareMap)
	if err != nil {
		return err
	}
	if care != nil {
		if b.CareMap, err = otazip.ParseCareMap(care); err != nil {
			return err
		}
	}
	apexes, err := read(targetfiles.ApexInfo)
	if err != nil || apexes == nil {
		return err
	}
	if b.ApexInfo, err = otazip.ParseApexInfo(apexes); err != nil {
		return fmt.Errorf("%s: %w: %w", targetfiles.ApexInfo, err, mios.ErrInvalid)
	}
	for _, a := range b.ApexInfo.Apexes {
		b.Apexes = append(b.Apexes, payload.Apex{Package: a.Package, Version: a.Version, Compressed: a.Compressed, DecompressedSize: a.DecompressedSize})
	}
	return nil
}
