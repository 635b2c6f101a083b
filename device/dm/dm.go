// Package dm makes device-mapper devices: linear ones, which gather pieces of
// another block device, and verity ones, which check what they read against a
// hash tree. It speaks the kernel's ioctl interface (linux/dm-ioctl.h, version
// 4) and starts no program.
package dm

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SectorSize is the unit of device-mapper, in bytes.
const SectorSize = 512

// A Target is one line of a device's table.
type Target struct {
	Start, Length uint64 // sectors of the new device
	Type          string // "linear", "verity"
	Params        string
}

// Linear maps length sectors from start on to those of dev from offset on.
func Linear(start, length uint64, dev string, offset uint64) Target {
	return Target{start, length, "linear", fmt.Sprintf("%s %d", dev, offset)}
}

// Zero makes length sectors from start on read as zeros.
func Zero(start, length uint64) Target { return Target{start, length, "zero", ""} }

// A Mode says what dm-verity does when a block does not match the tree.
type Mode string

// The modes.
const (
	EIO     Mode = "" // the read fails
	Restart Mode = "restart_on_corruption"
	Panic   Mode = "panic_on_corruption"
	Ignore  Mode = "ignore_corruption" // only logs it: not verified at all
)

// A Verity is a dm-verity target of version 1 over the start of a device.
type Verity struct {
	Device        string // that data, tree and parity are on
	BlockSize     uint32 // bytes, of data and tree
	DataBlocks    uint64
	HashStart     uint64 // block of the device where the tree starts
	HashAlgorithm string // "sha256"
	RootDigest    []byte
	Salt          []byte
	Mode          Mode
	CheckOnce     bool // verify a block only when it is first read

	FECRoots  uint32 // 0: without forward error correction
	FECBlocks uint64 // that are covered: data and tree
	FECStart  uint64 // block of the device where the parity starts
}

// Target returns the line of the device's table.
func (v Verity) Target() Target {
	salt := "-"
	if len(v.Salt) > 0 {
		salt = hex.EncodeToString(v.Salt)
	}
	var options []string
	if v.Mode != EIO {
		options = append(options, string(v.Mode))
	}
	if v.CheckOnce {
		options = append(options, "check_at_most_once")
	}
	if v.FECRoots > 0 {
		options = append(options,
			"use_fec_from_device", v.Device, "fec_roots", fmt.Sprint(v.FECRoots),
			"fec_blocks", fmt.Sprint(v.FECBlocks), "fec_start", fmt.Sprint(v.FECStart))
	}
	params := fmt.Sprintf("1 %s %s %d %d %d %d %s %x %s", v.Device, v.Device, v.BlockSize, v.BlockSize, v.DataBlocks, v.HashStart, v.HashAlgorithm, v.RootDigest, salt)
	if len(options) > 0 {
		params += fmt.Sprintf(" %d %s", len(options), strings.Join(options, " "))
	}
	return Target{0, v.DataBlocks * uint64(v.BlockSize/SectorSize), "verity", params}
}

// A Device is a device-mapper device.
type Device struct {
	Name         string // of the device to device-mapper
	Path         string // of its node, as "/dev/dm-0"
	Major, Minor uint32
}

// A Control is device-mapper's control device.
type Control struct{ f *os.File }

// controlPath and its numbers are the kernel's.
const (
	controlPath  = "/dev/mapper/control"
	controlMajor = 10 // misc
	controlMinor = 236
)

// Open opens the control device, and makes its node if there is none. The
// kernel must have device-mapper, or its module be loaded.
func Open() (*Control, error) {
	f, err := os.OpenFile(controlPath, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll("/dev/mapper", 0o755); err != nil {
			return nil, err
		}
		if err := mknod(controlPath, unix.S_IFCHR|0o600, controlMajor, controlMinor); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(controlPath, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("device-mapper: %w", err)
	}
	return &Control{f}, nil
}

// Close closes the control device. Devices stay.
func (c *Control) Close() error { return c.f.Close() }

// Create makes a device of that name with the table, and its node. If
// anything fails, nothing of it is left.
func (c *Control) Create(name string, readOnly bool, table ...Target) (*Device, error) {
	reply, err := c.call(cmdCreate, name, 0, nil)
	if err != nil {
		return nil, err
	}
	d := &Device{Name: name, Major: unix.Major(reply.Dev), Minor: unix.Minor(reply.Dev)}
	err = c.activate(d, readOnly, table)
	if err != nil {
		return nil, errors.Join(err, c.Remove(name))
	}
	return d, nil
}

func (c *Control) activate(d *Device, readOnly bool, table []Target) error {
	var flags uint32
	if readOnly {
		flags = flagReadOnly
	}
	if _, err := c.call(cmdLoad, d.Name, flags, table); err != nil {
		return err
	}
	// DM_DEV_SUSPEND without its flag is resume: the table becomes active.
	if _, err := c.call(cmdSuspend, d.Name, 0, nil); err != nil {
		return err
	}
	d.Path = fmt.Sprintf("/dev/dm-%d", d.Minor)
	if _, err := os.Stat(d.Path); errors.Is(err, os.ErrNotExist) { // no devtmpfs, or not yet
		return mknod(d.Path, unix.S_IFBLK|0o600, d.Major, d.Minor)
	}
	return nil
}

// Remove removes the device of that name. It must not be in use.
func (c *Control) Remove(name string) error {
	_, err := c.call(cmdRemove, name, 0, nil)
	return err
}

// Status returns the status lines of the device's targets, such as dm-verity's
// "V" (all right) or "C" (corruption was seen).
func (c *Control) Status(name string) ([]string, error) {
	req, err := encode(name, 0, nil, 16<<10)
	if err != nil {
		return nil, err
	}
	if err := c.ioctl(cmdTableStatus, req); err != nil {
		return nil, fmt.Errorf("device-mapper: status %s: %w", name, err)
	}
	return decodeStatus(req)
}

// call runs one command and returns the kernel's answer.
func (c *Control) call(cmd uintptr, name string, flags uint32, table []Target) (header, error) {
	req, err := encode(name, flags, table, 0)
	if err != nil {
		return header{}, err
	}
	if err := c.ioctl(cmd, req); err != nil {
		return header{}, fmt.Errorf("device-mapper: %s %s: %w", cmdNames[cmd], name, err)
	}
	var reply header
	_, err = binary.Decode(req, binary.NativeEndian, &reply)
	return reply, err
}

func (c *Control) ioctl(cmd uintptr, req []byte) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, c.f.Fd(), ioctlNumber(cmd), uintptr(unsafe.Pointer(&req[0])))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

func mknod(path string, mode, major, minor uint32) error {
	err := unix.Mknod(path, mode, int(unix.Mkdev(major, minor)))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "mknod", Path: path, Err: err}
	}
	return nil
}
