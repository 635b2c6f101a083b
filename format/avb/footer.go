package avb

// A Footer stands at the very end of a partition and says where its vbmeta
// image is.
type Footer struct {
	OriginalImageSize uint64 // bytes, before anything was appended
	VBMetaOffset      uint64 // bytes from the partition's start
	VBMetaSize        uint64 // bytes
}

// ParseFooter reads the footer that is the FooterSize bytes of b. Errors are
// [*FormatError].
func ParseFooter(b []byte) (*Footer, error) { return nil, bad(0, "ParseFooter") }

// Bytes returns the encoded footer.
func (f *Footer) Bytes() []byte { return nil }
