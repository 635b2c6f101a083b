// Package tuf reads, writes, signs and verifies the metadata of The Update
// Framework 1.0 (https://theupdateframework.github.io/specification/latest/):
// root, timestamp, snapshot and targets, with delegations by path, by hash
// prefix and to succinct bins (TAP 15).
//
// It knows files, not the client's workflow: which file to fetch next, whether
// one is expired or older than another is for its caller. What [Parse] accepts,
// [Metadata.Bytes] writes such that the signatures still hold; fields that this
// package does not know are kept, since they are signed too.
//
// It is stricter than the specification wants: member names are unique and
// spelt exactly, null takes the place of no value, hexadecimal is in lower case.
package tuf

import (
	"fmt"
	"time"
)

// The names of the top-level roles, which are also the types of metadata: what
// a targets role delegates to has the type targets.
const (
	RoleRoot      = "root"
	RoleTimestamp = "timestamp"
	RoleSnapshot  = "snapshot"
	RoleTargets   = "targets"
)

// TopLevel are the roles whose keys root metadata names.
var TopLevel = [...]string{RoleRoot, RoleTimestamp, RoleSnapshot, RoleTargets}

// SpecVersion is the version of the specification that [New] writes. All of
// version 1 is read.
const SpecVersion = "1.0.31"

// Limits on what [Parse] reads.
const (
	MaxSize  = 16 << 20 // of a file, in bytes
	MaxDepth = 32       // of objects and lists within each other
)

// A FormatError says where metadata breaks the format, and how.
type FormatError struct {
	Off int64 // in bytes, from the start of what was parsed
	Msg string
}

func (e *FormatError) Error() string { return fmt.Sprintf("tuf: offset %#x: %s", e.Off, e.Msg) }

// A Role is the signed part of one type of metadata.
type Role interface {
	Root | Timestamp | Snapshot | Targets
}

// Metadata is one metadata file.
type Metadata[T Role] struct {
	Signed       T
	Signatures   []Signature
	Unrecognized map[string]any // members beside the two, which no signature covers
}

// A Signature is one key's, over the canonical form of the signed part.
type Signature struct {
	KeyID        string
	Sig          []byte
	Unrecognized map[string]any
}

// A Header is what every type of metadata begins with.
type Header struct {
	SpecVersion string
	Version     int64     // from 1 on
	Expires     time.Time // UTC
	// Unrecognized are the fields that this package does not know, as string,
	// bool, int64, nil, []any and map[string]any.
	Unrecognized map[string]any
}

// Root names the keys of the top-level roles.
type Root struct {
	Header
	ConsistentSnapshot bool
	Keys               map[string]*Key // by key identifier
	Roles              map[string]*RoleKeys
}

// RoleKeys says which keys sign a role, and how many of them must.
type RoleKeys struct {
	KeyIDs       []string
	Threshold    int
	Unrecognized map[string]any
}

// Timestamp names the snapshot that is current.
type Timestamp struct {
	Header
	Meta map[string]*MetaFile
}

// Snapshot names the versions of all targets metadata that belong together.
type Snapshot struct {
	Header
	Meta map[string]*MetaFile
}

// A MetaFile is what metadata says of another metadata file. Length and Hashes
// are 0 and empty where nothing is said of them.
type MetaFile struct {
	Version      int64
	Length       int64 // bytes
	Hashes       Hashes
	Unrecognized map[string]any
}

// Hashes are the hashes of a file, by the algorithm's name: sha256, sha512.
type Hashes map[string][]byte

// Targets names files, and the roles that may name more.
type Targets struct {
	Header
	Targets     map[string]*TargetFile // by path
	Delegations *Delegations           // may be nil
}

// A TargetFile is what a targets role says of a file.
type TargetFile struct {
	Length       int64 // bytes
	Hashes       Hashes
	Custom       []byte // a JSON object as it was read, or nil
	Unrecognized map[string]any
}

// Delegations are the roles that a targets role trusts: either Roles or
// SuccinctRoles, whichever is not nil.
type Delegations struct {
	Keys          map[string]*Key
	Roles         []DelegatedRole // in the order of their priority
	SuccinctRoles *SuccinctRoles
	Unrecognized  map[string]any
}

// A DelegatedRole may name the targets that one of its patterns matches, or
// those the SHA-256 of whose path begins with one of some prefixes: whichever is
// not nil.
type DelegatedRole struct {
	Name             string
	KeyIDs           []string
	Threshold        int
	Terminating      bool
	Paths            []string
	PathHashPrefixes []string // hexadecimal
	Unrecognized     map[string]any
}

// New returns metadata of version 1 without signatures, to be filled in. A root
// has consistent snapshots, and the four roles without keys, of which one must
// sign.
func New[T Role]() *Metadata[T] {
	m := new(Metadata[T])
	switch s := any(&m.Signed).(type) {
	case *Root:
		s.ConsistentSnapshot, s.Keys, s.Roles = true, map[string]*Key{}, map[string]*RoleKeys{}
		for _, name := range TopLevel {
			s.Roles[name] = &RoleKeys{Threshold: 1}
		}
	case *Timestamp:
		s.Meta = map[string]*MetaFile{}
	case *Snapshot:
		s.Meta = map[string]*MetaFile{}
	case *Targets:
		s.Targets = map[string]*TargetFile{}
	}
	h := m.Head()
	h.SpecVersion, h.Version = SpecVersion, 1
	return m
}

// A Document is metadata of any type.
type Document interface {
	Head() *Header
	Sigs() *[]Signature
	// Canonical returns the bytes that are signed.
	Canonical() ([]byte, error)
	// Bytes returns the file.
	Bytes() ([]byte, error)
}

// Head returns what all types of metadata have, to be read or changed.
func (m *Metadata[T]) Head() *Header { return m.signed().head() }

// Sigs returns the signatures, to be read or changed.
func (m *Metadata[T]) Sigs() *[]Signature { return &m.Signatures }

// signed is what the four types do differently.
type signed interface {
	role() string
	head() *Header
	required() []string
	decode(d *decoder, name string) bool // false if it does not know the member
	encode(o map[string]any)
}

func (m *Metadata[T]) signed() signed { return any(&m.Signed).(signed) }

func (h *Header) head() *Header { return h }
func (*Root) role() string      { return RoleRoot }
func (*Timestamp) role() string { return RoleTimestamp }
func (*Snapshot) role() string  { return RoleSnapshot }
func (*Targets) role() string   { return RoleTargets }
