package targetfiles

import (
	"slices"
	"strings"
)

// A Partition is a partition that AOSP's build knows.
type Partition struct {
	Name   string // "system", "vendor_boot"
	Folder string // of its files: "SYSTEM"; "" if a build has only an image of it
	Footer Footer // that AVB puts behind its image
	Super  bool   // lies in super on a device with dynamic partitions
	Kept   bool   // its image was made outside of the file tree: PREBUILT_IMAGES, RADIO
}

// A Footer says what AVB puts behind a partition's image.
type Footer int

// The footers.
const (
	NoFooter       Footer = iota // a vbmeta image itself, or nothing
	HashFooter                   // of one hash over the whole image
	HashtreeFooter               // of a hash tree, which dm-verity takes
)

// Partitions are those that AOSP's build knows, in the order in which
// releasetools makes them (add_img_to_target_files.py; sign_target_files_apks.py,
// AVB_FOOTER_ARGS_BY_PARTITION).
var Partitions = []Partition{
	{Name: "boot", Folder: "BOOT", Footer: HashFooter},
	{Name: "init_boot", Folder: "INIT_BOOT", Footer: HashFooter},
	{Name: "vendor_boot", Folder: "VENDOR_BOOT", Footer: HashFooter},
	{Name: "vendor_kernel_boot", Folder: "VENDOR_KERNEL_BOOT", Footer: HashFooter},
	{Name: "recovery", Folder: "RECOVERY", Footer: HashFooter},
	{Name: "system", Folder: "SYSTEM", Footer: HashtreeFooter, Super: true},
	{Name: "system_ext", Folder: "SYSTEM_EXT", Footer: HashtreeFooter, Super: true},
	{Name: "product", Folder: "PRODUCT", Footer: HashtreeFooter, Super: true},
	{Name: "vendor", Folder: "VENDOR", Footer: HashtreeFooter, Super: true},
	{Name: "odm", Folder: "ODM", Footer: HashtreeFooter, Super: true},
	{Name: "vendor_dlkm", Folder: "VENDOR_DLKM", Footer: HashtreeFooter, Super: true},
	{Name: "odm_dlkm", Folder: "ODM_DLKM", Footer: HashtreeFooter, Super: true},
	{Name: "system_dlkm", Folder: "SYSTEM_DLKM", Footer: HashtreeFooter, Super: true},
	{Name: "system_other", Folder: "SYSTEM_OTHER", Footer: HashtreeFooter, Super: true},
	{Name: "dtbo", Footer: HashFooter, Kept: true},
	{Name: "pvmfw", Footer: HashFooter, Kept: true},
	{Name: "vbmeta_system"},
	{Name: "vbmeta_vendor"},
	{Name: "vbmeta"},
}

// FindPartition returns the partition of that name, or nil.
func FindPartition(name string) *Partition {
	i := slices.IndexFunc(Partitions, func(p Partition) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &Partitions[i]
}

// Image returns where a partition's image lies in a target-files:
// "IMAGES/system.img".
func Image(partition string) string { return "IMAGES/" + partition + ".img" }

// ImageName returns where a partition's image lies in s.
func (s *Source) ImageName(partition string) string {
	if s.Layout == Images {
		return partition + ".img"
	}
	return Image(partition)
}

// Folders are where a partition's files may lie in a target-files, the first
// first (common.py, PartitionMapFromTargetFiles).
func (p *Partition) Folders() []string {
	switch p.Name {
	case "vendor":
		return []string{"VENDOR", "SYSTEM/vendor"}
	case "product":
		return []string{"PRODUCT", "SYSTEM/product"}
	case "system_ext":
		return []string{"SYSTEM_EXT", "SYSTEM/system_ext"}
	case "odm":
		return []string{"ODM", "VENDOR/odm", "SYSTEM/vendor/odm"}
	case "vendor_dlkm":
		return []string{"VENDOR_DLKM", "VENDOR/vendor_dlkm", "SYSTEM/vendor/vendor_dlkm"}
	case "odm_dlkm":
		return []string{"ODM_DLKM", "VENDOR/odm_dlkm", "SYSTEM/vendor/odm_dlkm"}
	case "system_dlkm":
		return []string{"SYSTEM_DLKM", "SYSTEM/system_dlkm"}
	case "":
		return nil
	}
	if p.Folder == "" {
		return nil
	}
	return []string{p.Folder}
}

// FolderOf returns the folder in s that holds a partition's files, or "".
func (s *Source) FolderOf(p *Partition) string {
	for _, f := range p.Folders() {
		if s.HasDir(f) {
			return f
		}
	}
	return ""
}

// PartitionOf returns the partition that a file of a target-files is of and its
// path there ("system", "etc/hosts"), or "" for one of META and the like. A
// partition that has no folder of its own lies in system or vendor, as it is
// mounted.
func PartitionOf(name string) (partition, rest string) {
	folder, rest, ok := strings.Cut(name, "/")
	if !ok {
		return "", ""
	}
	for i := range Partitions {
		if p := &Partitions[i]; p.Folder != "" && p.Folder == folder {
			return p.Name, rest
		}
	}
	return "", ""
}

// AVB is what misc_info.txt says of how a partition is signed.
type AVB struct {
	Partition     string
	KeyPath       string // path in the build, without "" if the partition has no key of its own
	Algorithm     string // "SHA256_RSA4096"
	RollbackIndex int64
	Location      int64    // of the rollback index; 0: none is said
	Args          string   // further arguments of avbtool
	Contents      []string // of vbmeta_system and the like: the partitions whose descriptors it holds
}

// AVBArgsKey returns the key of misc_info.txt with avbtool's arguments for a
// partition: "avb_system_add_hashtree_footer_args"; of one that is not in
// Partitions, a custom one, that of a hash tree.
func AVBArgsKey(partition string) string {
	p := FindPartition(partition)
	switch {
	case p != nil && p.Footer == NoFooter:
		return "avb_" + partition + "_args"
	case p != nil && p.Footer == HashFooter:
		return "avb_" + partition + "_add_hash_footer_args"
	}
	return "avb_" + partition + "_add_hashtree_footer_args"
}

// AVB returns what misc_info.txt says of a partition. ok says whether it has a
// key of its own.
func AVBOf(misc *Dict, partition string) (a AVB, ok bool, err error) {
	pre := "avb_" + partition
	a = AVB{
		Partition: partition, KeyPath: misc.Get(pre + "_key_path"), Algorithm: misc.Get(pre + "_algorithm"),
		Args: misc.Get(AVBArgsKey(partition)),
	}
	if a.RollbackIndex, err = misc.Int(pre+"_rollback_index", 0); err != nil {
		return a, false, err
	}
	if a.Location, err = misc.Int(pre+"_rollback_index_location", 0); err != nil {
		return a, false, err
	}
	if strings.HasPrefix(partition, "vbmeta_") {
		a.Contents = misc.Fields("avb_" + partition)
	}
	return a, a.KeyPath != "", nil
}

// AVBPartitions returns every partition that has a key of its own, vbmeta last
// if it has one: those of Partitions, those in
// avb_custom_images_partition_list, and those in avb_custom_vbmeta_images_partition_list.
func AVBPartitions(misc *Dict) ([]AVB, error) {
	var names []string
	for _, p := range Partitions {
		names = append(names, p.Name)
	}
	custom := append(misc.Fields("avb_custom_images_partition_list"), misc.Fields("avb_custom_vbmeta_images_partition_list")...)
	names = slices.Insert(names, len(names)-1, custom...)
	var out []AVB
	for _, name := range names {
		a, ok, err := AVBOf(misc, name)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, a)
		}
	}
	return out, nil
}
