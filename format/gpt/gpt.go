// Package gpt reads and writes GUID partition tables with their protective MBR
// (UEFI specification, chapter 5) on disks with 512-byte sectors.
//
// A table is written twice, at the disk's start and at its end; either copy
// alone is enough to read it. What [Read] finds intact, [Table.WriteDisk] writes
// byte for byte.
package gpt

import "fmt"

// SectorSize is the only size of a logical block that the package knows, in
// bytes.
const SectorSize = 512

// Align is what [New] aligns partitions to, in bytes.
const Align = 1 << 20

// A FormatError says where a disk breaks the format, and how.
type FormatError struct {
	Off int64  // in bytes from the disk's start
	Msg string // what is wrong there
}

func (e *FormatError) Error() string { return fmt.Sprintf("gpt: offset %#x: %s", e.Off, e.Msg) }

// A Table is the partition table of one disk.
type Table struct {
	Disk       GUID
	Sectors    uint64 // of the whole disk
	First      uint64 // first sector that a partition may use
	Last       uint64 // last such sector
	Partitions []Partition

	MBR        [SectorSize]byte // the protective MBR
	EntryCount uint32           // room for partitions
	PrimaryLBA uint64           // sector of the primary copy's entries
	BackupLBA  uint64           // sector of the backup copy's entries
}

// A Partition is one entry. An entry of zeros is not used: it keeps the
// numbers of those after it.
type Partition struct {
	Type        GUID
	ID          GUID
	First, Last uint64 // sectors, both inclusive
	Attributes  uint64
	Name        string // at most 36 UTF-16 units
}

// Offset returns where the partition begins, in bytes.
func (p Partition) Offset() int64 { return int64(p.First) * SectorSize }

// Size returns the partition's size in bytes.
func (p Partition) Size() int64 { return int64(p.Last-p.First+1) * SectorSize }

// A Spec says which partition [New] makes.
type Spec struct {
	Name       string
	Size       int64 // bytes, a multiple of [SectorSize]; 0 takes what is left, in the last Spec only
	Type       GUID  // the zero value stands for [LinuxData]
	Attributes uint64
}

// Copies says what is wrong with each part of a table that could be read
// nevertheless; nil is intact.
type Copies struct {
	MBR, Primary, Backup error
}

// Find returns the partition of that name.
func (t *Table) Find(name string) (Partition, bool) {
	for _, p := range t.Partitions {
		if p.Name == name && p.Type != (GUID{}) {
			return p, true
		}
	}
	return Partition{}, false
}
