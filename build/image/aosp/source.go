package aosp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mios"
	"mios/build/fstree"
	"mios/format/fsimage"
	"mios/format/super"
	"mios/format/targetfiles"
)

// A source is the build of AOSP that a product is made from: target-files, or a
// folder of images. The files in images have the names then that they would have
// in target-files.
type source struct {
	*targetfiles.Source
	dir string // of images

	folders map[string]bool      // in images: "SYSTEM/app"
	files   map[string]imageFile // in images
	names   []string             // of regular files, sorted
	open    []io.Closer
}

// An imageFile is a regular file in an image.
type imageFile struct {
	img  *fstree.Image
	node fsimage.Node
}

// openSource opens the target-files, or the folder of images, at a path.
func openSource(name string) (*source, error) {
	src, err := targetfiles.Open(name)
	if err != nil {
		return nil, err
	}
	s := &source{Source: src, dir: name}
	if !s.bare() {
		for _, e := range src.Entries {
			if e.Mode.IsRegular() {
				s.names = append(s.names, e.Name)
			}
		}
		return s, nil
	}
	s.folders, s.files = map[string]bool{}, map[string]imageFile{}
	for _, p := range targetfiles.Partitions {
		if err := s.addImage(p); err != nil {
			s.close()
			return nil, fmt.Errorf("%s.img: %w", p.Name, err)
		}
	}
	slices.Sort(s.names)
	return s, nil
}

// bare reports whether it is images alone.
func (s *source) bare() bool { return s.Layout == targetfiles.Images }

func (s *source) close() error {
	errs := []error{s.Close()}
	for _, c := range s.open {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// imagePath returns the path of a partition's image in target-files.
func (s *source) imagePath(partition string) string {
	if s.bare() {
		return partition + ".img"
	}
	return targetfiles.Image(partition)
}

// addImage lists the files of a partition's image, if there is one.
func (s *source) addImage(p targetfiles.Partition) error {
	if p.Folder == "" || p.Footer != targetfiles.HashtreeFooter {
		return nil
	}
	f, err := os.Open(filepath.Join(s.dir, p.Name+".img"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.open = append(s.open, f)
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	img, err := fstree.Open(f, fi.Size())
	if err != nil {
		return err
	}
	root, err := img.Root()
	if err != nil {
		return err
	}
	return img.Walk("", root, func(name string, n fsimage.Node) error {
		full := path.Join(p.Folder, name)
		if p.Name == "system" { // whose image has the root of all
			if rest, ok := strings.CutPrefix(name+"/", "system/"); ok {
				full = path.Join(p.Folder, rest)
			} else {
				full = path.Join("ROOT", name)
			}
		}
		switch mode := n.Info().Mode; {
		case mode.IsDir():
			s.folders[full] = true
		case mode.IsRegular():
			s.files[full] = imageFile{img, n}
			s.names = append(s.names, full)
		}
		return nil
	})
}

// folderOf returns the folder of a partition's files, or "".
func (s *source) folderOf(p *targetfiles.Partition) string {
	if !s.bare() {
		return s.FolderOf(p)
	}
	for _, f := range p.Folders() {
		if s.folders[f] {
			return f
		}
	}
	return ""
}

// has reports whether there is a file or folder.
func (s *source) has(name string) bool {
	if !s.bare() {
		return s.Has(name) || s.HasDir(name)
	}
	_, ok := s.files[name]
	return ok || s.folders[name]
}

// readAll reads a file of at most limit bytes.
func (s *source) readAll(name string, limit int64) ([]byte, error) {
	if !s.bare() {
		e := s.Entry(name)
		if e == nil {
			return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		}
		if e.Mode.IsRegular() {
			return e.ReadAll(limit)
		}
		return s.ReadFile(name)
	}
	f, ok := s.files[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case f.node.Info().Size > limit:
		return nil, fmt.Errorf("%s: %d bytes, want at most %d: %w", name, f.node.Info().Size, limit, mios.ErrInvalid)
	}
	var b bytes.Buffer
	_, err := f.img.Copy(&b, f.node)
	return b.Bytes(), err
}

// maxText is the most that a file of settings has, in bytes.
const maxText = 16 << 20

// beside reads a file that lies beside the images, or in a folder of
// target-files.
func (s *source) beside(folder, name string) ([]byte, error) {
	if !s.bare() {
		return s.ReadFile(path.Join(folder, name))
	}
	return os.ReadFile(filepath.Join(s.dir, name))
}

// misc returns what META/misc_info.txt says; of images alone, what can be told
// from the layout of super.
func (s *source) misc() (*targetfiles.Dict, error) {
	if s.bare() {
		return s.fromSuper()
	}
	raw, err := s.ReadFile(targetfiles.MiscInfo)
	if err != nil {
		return nil, err
	}
	d, err := targetfiles.ParseDict(raw)
	return d, targetfiles.In(targetfiles.MiscInfo, err)
}

// fromSuper tells from super_empty.img what misc_info.txt would say of super.
func (s *source) fromSuper() (*targetfiles.Dict, error) {
	d, err := targetfiles.ParseDict(nil)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(s.dir, SuperEmpty))
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	g, m, err := super.ReadEmpty(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", SuperEmpty, err)
	}
	if len(m.Devices) != 1 || m.Devices[0].Flags&super.FlagSlotSuffixed != 0 {
		return nil, fmt.Errorf("%s: a super partition of %d devices, retrofitted: %w: give target-files", SuperEmpty, len(m.Devices), errors.ErrUnsupported)
	}
	ab := g.SlotCount == 3
	var all, groups []string
	for _, group := range m.Groups {
		name, ok := strings.CutSuffix(group.Name, "_a")
		if group.Name == super.DefaultGroup || ab && !ok {
			continue
		}
		var in []string
		for _, p := range m.Partitions {
			if p.Group == group.Name {
				in = append(in, strings.TrimSuffix(p.Name, "_a"))
			}
		}
		groups, all = append(groups, name), append(all, in...)
		d.Set("super_"+name+"_group_size", fmt.Sprint(group.MaxSize))
		d.Set("super_"+name+"_partition_list", strings.Join(in, " "))
	}
	device := m.Devices[0]
	for _, kv := range [][2]string{
		{"use_dynamic_partitions", "true"}, {"ab_update", fmt.Sprint(ab)}, {"virtual_ab", fmt.Sprint(m.Flags&super.FlagVirtualAB != 0)},
		{"dynamic_partition_list", strings.Join(all, " ")}, {"super_partition_groups", strings.Join(groups, " ")}, {"super_metadata_device", device.Name},
		{"super_block_devices", device.Name}, {"super_" + device.Name + "_device_size", fmt.Sprint(device.Size)}, {"super_partition_size", fmt.Sprint(device.Size)},
	} {
		d.Set(kv[0], kv[1])
	}
	return d, nil
}

// partitions are those of the build: of A/B builds those that updates bring,
// and else all with an image.
func (s *source) partitions() ([]string, error) {
	if s.bare() {
		return s.bareImages()
	}
	raw, err := s.ReadFile(targetfiles.ABPartitions)
	if err == nil {
		names, err := targetfiles.ParseList(raw)
		return names, targetfiles.In(targetfiles.ABPartitions, err)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, p := range targetfiles.Partitions {
		if s.Has(targetfiles.Image(p.Name)) {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no images in IMAGES: %w: make them with AOSP's add_img_to_target_files", mios.ErrNotFound)
	}
	return names, nil
}

// notShipped are images of what a device fills itself.
var notShipped = []string{"userdata", "cache", "metadata", "misc"}

func (s *source) bareImages() ([]string, error) {
	list, err := filepath.Glob(filepath.Join(s.dir, "*.img"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range list {
		name := strings.TrimSuffix(filepath.Base(p), ".img")
		if !strings.HasPrefix(name, "super") && !slices.Contains(notShipped, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if !slices.Contains(names, "system") || !slices.Contains(names, "vbmeta") {
		return nil, fmt.Errorf("no system.img or no vbmeta.img: %w: take a super.img apart with mios super unpack first", mios.ErrNotFound)
	}
	return names, nil
}
