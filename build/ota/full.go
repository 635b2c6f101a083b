// Package ota makes update payloads from builds, in update_engine's format, and
// the packages around them.
package ota

import (
	"context"
	"crypto"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"mios"
	"mios/build/ota/cow"
	"mios/build/ota/input"
	"mios/format/payload"
	"mios/internal/atomicfile"
)

// Names of what [WriteFull] writes.
const (
	PayloadFile    = "payload.bin"
	PropertiesFile = "payload_properties.txt"
)

// Options say how a full payload of a build is made.
type Options struct {
	// Partitions are those that it brings; none stands for all. If the build has
	// others, the payload is a partial update.
	Partitions []string
	// Timestamp (seconds since 1970) and SecurityPatch, if set, stand in for what
	// the build says.
	Timestamp     int64
	SecurityPatch string
	Signers       []crypto.Signer // RSA; none leaves the payload unsigned
	// Chunk is how many bytes of a partition one operation writes, as
	// [payload.Full] has it.
	Chunk int64
	// Progress, if set, is told how many of the images' bytes are compressed.
	Progress func(done, total int64)
}

// MinorPartial is the least minor version of payloads that an update_engine must
// take to know partial updates (payload_constants.h).
const MinorPartial = 7

// Of returns the full payload of a build. The build must stay open until it is
// written.
func Of(b *input.Build, o Options) (*payload.Full, error) {
	f := &payload.Full{
		MaxTimestamp: b.Timestamp, SecurityPatch: b.SecurityPatch, Dynamic: b.Dynamic, Apexes: b.Apexes, Signers: o.Signers,
		Chunk: o.Chunk, Progress: o.Progress,
	}
	if o.Timestamp != 0 {
		f.MaxTimestamp = o.Timestamp
	}
	if o.SecurityPatch != "" {
		f.SecurityPatch = o.SecurityPatch
	}
	if f.MaxTimestamp <= 0 {
		return nil, fmt.Errorf("build timestamp %d: %w: devices could not tell which build is newer; say it with --timestamp", f.MaxTimestamp, mios.ErrInvalid)
	}
	for _, name := range o.Partitions {
		if b.Find(name) == nil {
			return nil, fmt.Errorf("partition %s: not in the build: %w", name, mios.ErrNotFound)
		}
	}
	for _, p := range b.Partitions {
		if len(o.Partitions) > 0 && !slices.Contains(o.Partitions, p.Header.Name) {
			f.PartialUpdate = true
			continue
		}
		f.Images = append(f.Images, payload.Image{
			Name: p.Header.Name, Header: p.Header, Content: p, Size: p.Size, SHA256: p.SHA256,
		})
	}
	if f.PartialUpdate {
		f.MinorVersion = max(b.MinorVersion, MinorPartial)
		f.Dynamic = partial(f.Dynamic, o.Partitions)
	}
	return f, fits(f)
}

// partial leaves in the groups the partitions that the payload brings, as
// releasetools do, and no group without one.
func partial(d *payload.DynamicPartitions, keep []string) *payload.DynamicPartitions {
	if d == nil {
		return nil
	}
	out := *d
	out.Groups = nil
	for _, g := range d.Groups {
		g.Partitions = slices.DeleteFunc(slices.Clone(g.Partitions), func(name string) bool { return !slices.Contains(keep, name) })
		if len(g.Partitions) > 0 {
			out.Groups = append(out.Groups, g)
		}
	}
	if len(out.Groups) == 0 {
		return nil
	}
	return &out
}

// fits refuses partitions that are larger than their group.
func fits(f *payload.Full) error {
	if f.Dynamic == nil {
		return nil
	}
	for _, g := range f.Dynamic.Groups {
		var sum int64
		for _, img := range f.Images {
			if slices.Contains(g.Partitions, img.Name) {
				sum += img.Size
			}
		}
		if g.Size > 0 && uint64(sum) > g.Size {
			return fmt.Errorf("logical partitions: %d bytes, and group %s of super has %d: %w: make them smaller or super larger in the product",
				sum, g.Name, g.Size, mios.ErrInvalid)
		}
	}
	return nil
}

// WriteBuild writes the full payload of the build at a path as [WriteFull] does.
func WriteBuild(ctx context.Context, build, dir string, o Options) (payload.Properties, error) {
	b, err := input.Open(build, "")
	if err != nil {
		return payload.Properties{}, err
	}
	defer b.Close()
	f, err := Of(b, o)
	if err != nil {
		return payload.Properties{}, err
	}
	return WriteFull(ctx, dir, f)
}

// WriteFull writes a payload's payload.bin and payload_properties.txt into the
// folder dir, which it makes if it is missing. A payload.bin there is whole or
// the one of before.
func WriteFull(ctx context.Context, dir string, f *payload.Full) (props payload.Properties, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return props, err
	}
	err = atomicfile.Fill(filepath.Join(dir, PayloadFile), 0o644, func(file *os.File) (err error) {
		props, err = write(ctx, file, dir, f)
		return err
	})
	if err != nil {
		return payload.Properties{}, err
	}
	return props, atomicfile.WriteBytes(filepath.Join(dir, PropertiesFile), []byte(props.String()), 0o644)
}

// write writes the payload to w; its data waits in a nameless file in the folder
// tmp.
func write(ctx context.Context, w io.Writer, tmp string, f *payload.Full) (payload.Properties, error) {
	sized, err := snapshots(ctx, f)
	if err != nil {
		return payload.Properties{}, err
	}
	spool, err := os.CreateTemp(tmp, ".payload-*")
	if err != nil {
		return payload.Properties{}, err
	}
	defer spool.Close()
	if err := os.Remove(spool.Name()); err != nil {
		return payload.Properties{}, err
	}
	return sized.Write(ctx, w, spool)
}

// snapshots says of each partition of a build with compressed Virtual A/B how
// large its COW gets.
func snapshots(ctx context.Context, f *payload.Full) (*payload.Full, error) {
	out := *f
	out.Images = slices.Clone(f.Images)
	for i := range out.Images {
		img := &out.Images[i]
		if !cow.Wanted(f.Dynamic, img.Name) {
			continue
		}
		size, err := cow.Estimate(ctx, f.Dynamic, &payload.Partition{
			NewInfo: &payload.PartitionInfo{Size: uint64(img.Size)}, Operations: f.Extents(img.Size),
		}, img.Content)
		if err != nil {
			return nil, fmt.Errorf("partition %s: %w", img.Name, err)
		}
		img.Header.EstimateCowSize, img.Header.EstimateOpCountMax = size.Bytes, size.Ops
	}
	return &out, nil
}
