package input

import (
	"fmt"
	"strconv"
	"strings"

	"mios"
	"mios/format/payload"
	"mios/format/targetfiles"
)

// maxMeta is how long a file of META or a build.prop may be, in bytes.
const maxMeta = 16 << 20

// targetFiles opens the images that META/ab_partitions.txt names, and reads what
// META and system's build.prop say of the build.
func (b *Build) targetFiles(s *targetfiles.Source, tmp string) error {
	read := func(name string) ([]byte, error) {
		e := s.Entry(name)
		if e == nil {
			return nil, nil
		}
		return e.ReadAll(maxMeta)
	}
	list, err := read(targetfiles.ABPartitions)
	if err != nil {
		return err
	}
	if list == nil {
		return fmt.Errorf("no %s: only A/B builds have payloads: %w", targetfiles.ABPartitions, mios.ErrInvalid)
	}
	names, err := targetfiles.ParseList(list)
	if err != nil {
		return targetfiles.In(targetfiles.ABPartitions, err)
	}
	after, err := dict(read, "META/postinstall_config.txt")
	if err != nil {
		return err
	}
	for _, name := range names {
		e := s.Entry(targetfiles.Image(name))
		if e == nil {
			e = s.Entry("RADIO/" + name + ".img")
		}
		if e == nil {
			return fmt.Errorf("no image of partition %s, which %s names: %w", name, targetfiles.ABPartitions, mios.ErrInvalid)
		}
		if err := b.entry(e, postInstall(name, after), tmp); err != nil {
			return err
		}
	}
	if err := b.meta(read); err != nil {
		return err
	}
	if err := b.packed(read); err != nil {
		return err
	}
	return b.props(s, read)
}

// dict reads a file of KEY=VALUE lines that may be missing.
func dict(read func(string) ([]byte, error), name string) (*targetfiles.Dict, error) {
	data, err := read(name)
	if err != nil {
		return nil, err
	}
	d, err := targetfiles.ParseDict(data)
	return d, targetfiles.In(name, err)
}

// postInstall is what META/postinstall_config.txt says of a partition.
func postInstall(name string, d *targetfiles.Dict) payload.Partition {
	p := payload.Partition{Name: name}
	if d.Bool("RUN_POSTINSTALL_" + name) {
		p.RunPostinstall = true
		p.PostinstallPath = d.Get("POSTINSTALL_PATH_" + name)
		p.FilesystemType = d.Get("FILESYSTEM_TYPE_" + name)
		p.PostinstallOptional = d.Bool("POSTINSTALL_OPTIONAL_" + name)
	}
	return p
}

// meta reads what META says of update_engine and of super.
func (b *Build) meta(read func(string) ([]byte, error)) error {
	config, err := read(targetfiles.UpdateEngineConfig)
	if err != nil {
		return err
	}
	if config != nil {
		v, err := targetfiles.ParseUpdateEngineConfig(config)
		if err != nil {
			return targetfiles.In(targetfiles.UpdateEngineConfig, err)
		}
		b.MinorVersion = uint32(min(v.Minor, 1<<31-1))
	}
	info, err := dict(read, targetfiles.DynamicPartitions)
	if err != nil {
		return err
	}
	if len(info.Fields("super_partition_groups")) > 0 {
		if b.Dynamic, err = dynamic(info); err != nil {
			return err
		}
	}
	return nil
}

// dynamic makes of META/dynamic_partitions_info.txt what update_engine's
// generator makes of it (ImageConfig::LoadDynamicPartitionMetadata).
func dynamic(info *targetfiles.Dict) (*payload.DynamicPartitions, error) {
	d, err := targetfiles.ParseDynamic(info)
	if err != nil {
		return nil, err
	}
	out := &payload.DynamicPartitions{SnapshotEnabled: d.VirtualAB}
	for _, g := range d.Groups {
		out.Groups = append(out.Groups, payload.Group{Name: g.Name, Size: uint64(g.Size), Partitions: g.Partitions})
	}
	if !d.Compress {
		return out, nil
	}
	version, err := info.Int("virtual_ab_cow_version", 2)
	if err != nil {
		return nil, err
	}
	factor, err := info.Int("virtual_ab_compression_factor", payload.DefaultBlockSize)
	if err != nil {
		return nil, err
	}
	if version < 2 || version > 3 || factor < payload.DefaultBlockSize || factor > 1<<20 || factor&(factor-1) != 0 {
		return nil, fmt.Errorf("virtual A/B: COW version %d, %d bytes compressed at once: %w", version, factor, mios.ErrInvalid)
	}
	out.VABCEnabled, out.CowVersion = true, uint32(version)
	if out.VABCCompressionParam = info.Get("virtual_ab_compression_method"); out.VABCCompressionParam == "" {
		out.VABCCompressionParam = "gz"
	}
	if factor != payload.DefaultBlockSize || info.Get("virtual_ab_compression_factor") != "" {
		out.CompressionFactor = uint64(factor)
	}
	return out, nil
}

// props reads the build's timestamp and security patch level, and each
// partition's own timestamp, which is its version in partial updates.
func (b *Build) props(s *targetfiles.Source, read func(string) ([]byte, error)) error {
	all := map[string]*targetfiles.Dict{}
	for i := range b.Partitions {
		p := &b.Partitions[i]
		known := targetfiles.FindPartition(p.Header.Name)
		if known == nil {
			continue
		}
		folder := s.FolderOf(known)
		for _, name := range []string{folder + "/build.prop", folder + "/etc/build.prop"} {
			d, err := read(name)
			if folder == "" || err == nil && d == nil {
				continue
			}
			if err != nil {
				return err
			}
			props, err := targetfiles.ParseProps(d)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			all[p.Header.Name] = props
			if p.Header.Version == "" {
				p.Header.Version = props.Get("ro." + strings.ReplaceAll(p.Header.Name, "-", "_") + ".build.date.utc")
			}
			if p.Header.Name != "system" {
				continue
			}
			if b.SecurityPatch == "" {
				b.SecurityPatch = props.Get("ro.build.version.security_patch")
			}
			if at := props.Get("ro.build.date.utc"); at != "" {
				if b.Timestamp, err = strconv.ParseInt(at, 10, 64); err != nil {
					return fmt.Errorf("%s: ro.build.date.utc=%s: want a number: %w", name, at, mios.ErrInvalid)
				}
			}
		}
	}
	b.state(all)
	return nil
}
