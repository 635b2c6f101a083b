package apk

import "fmt"

// ResourcesName is the entry that holds a package's resource table.
const ResourcesName = "resources.arsc"

// MaxResources is the largest resource table that is read, in bytes.
const MaxResources = 128 << 20

// A ResID names a resource: 0xPPTTEEEE of package, type and entry.
type ResID uint32

// String returns the id as "0x7f010001".
func (id ResID) String() string { return fmt.Sprintf("%#08x", uint32(id)) }

// Resources is a resource table, resources.arsc. It keeps the bytes and decodes
// what is asked for.
type Resources struct {
	b []byte
}

// A Resource is what a resource is in one configuration: a value, or a bag of
// them.
type Resource struct {
	Config Config
	Public bool
	Weak   bool
	Bag    bool      // a style, array, plural or attribute
	Value  Value     // unless it is a bag
	Parent ResID     // of a style
	Items  []BagItem // of a bag, in the order of the table
}

// A BagItem is one value of a bag.
type BagItem struct {
	Name  ResID // of the attribute, or one of the names below 0x02000000 that arrays and plurals use
	Value Value
}
