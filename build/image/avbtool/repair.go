package avbtool

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"mios/format/avb"
)

// RepairOptions say what a damaged image should be.
type RepairOptions struct {
	Output string // file to make; "": the image's own is replaced
	// VBMeta is the file of the vbmeta image with the hash tree's descriptor;
	// "": the image's own, in its footer.
	VBMeta    string
	Partition string // whose descriptor is meant; "": the only one, or that of the file's name
}

// Repair corrects the image file by its FEC, as far as its hash tree says what
// is right, and tells what was wrong. Nothing is written unless all could be
// repaired, or if nothing was wrong. The vbmeta image must verify.
func Repair(ctx context.Context, name string, o RepairOptions, p Progress) (*avb.RepairReport, error) {
	m, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if m.Sparse() {
		return nil, fmt.Errorf("%s: a sparse image: expand it first, with mios sparse expand", name)
	}
	d, err := o.descriptor(m)
	if err != nil {
		return nil, err
	}
	errClean := errors.New("nothing to repair")
	var report *avb.RepairReport
	err = rewrite(ctx, m, o.Output, m.Size, int64(d.ImageSize), p, func(t *draft) (err error) {
		counting := &countedFile{meter{t.f, ctx, t.step}, t.f}
		if report, err = avb.Repair(ctx, counting, d); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(report.Blocks) == 0 && !report.FEC && o.Output == "" {
			return errClean // the file stays as it is
		}
		return nil
	})
	if errors.Is(err, errClean) {
		err = nil
	}
	return report, err
}

// countedFile is a file whose reads count.
type countedFile struct {
	meter
	w interface {
		WriteAt(b []byte, off int64) (int, error)
	}
}

func (f *countedFile) WriteAt(b []byte, off int64) (int, error) { return f.w.WriteAt(b, off) }

// descriptor finds the hash tree's descriptor in a vbmeta image that verifies.
func (o *RepairOptions) descriptor(m *Image) (*avb.HashtreeDescriptor, error) {
	source := m
	if o.VBMeta != "" {
		other, err := Open(o.VBMeta)
		if err != nil {
			return nil, err
		}
		defer other.Close()
		source = other
	}
	v, err := source.verifyVBMeta(nil, func(Check) {})
	if err != nil {
		return nil, err
	}
	var all []*avb.HashtreeDescriptor
	for _, d := range v.Descriptors {
		if d, ok := d.(*avb.HashtreeDescriptor); ok && (o.Partition == "" || d.PartitionName == o.Partition) {
			all = append(all, d)
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	base := strings.TrimSuffix(filepath.Base(m.Name), filepath.Ext(m.Name))
	for _, d := range all {
		if d.PartitionName == base || d.PartitionName+"_a" == base || d.PartitionName+"_b" == base {
			return d, nil
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no descriptor of the partition's hash tree: name the file that has it with --vbmeta_image", source.Name)
	}
	return nil, fmt.Errorf("%s: descriptors of %d hash trees: say which with --partition_name", source.Name, len(all))
}
