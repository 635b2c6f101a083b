package apksig

// Tags of DER.
const (
	derOctets   = 0x04
	derOID      = 0x06
	derSequence = 0x30
	derSet      = 0x31
	derContext0 = 0xa0
)

var (
	derNull = []byte{0x05, 0x00}
	derOne  = []byte{0x02, 0x01, 0x01}
)

// Object identifiers, as the bytes that encode them.
const (
	oidPKCS7Data     = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
	oidPKCS7Signed   = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
	oidSHA256WithDSA = "\x60\x86\x48\x01\x65\x03\x04\x03\x02"
)

// v1Keys are the keys of JAR signatures by the extension of their files.
var v1Keys = map[string]struct {
	kind keyKind
	oid  string
}{
	"RSA": {rsaPKCS1, oidRSA},
	"DSA": {dsaKey, "\x2a\x86\x48\xce\x38\x04\x01"},
	"EC":  {ecdsaKey, "\x2a\x86\x48\xce\x3d\x02\x01"},
}

// derAlgorithm is an AlgorithmIdentifier with NULL for its parameters.
func derAlgorithm(oid string) []byte { return der(derSequence, der(derOID, []byte(oid)), derNull) }

// der returns a value of DER with that tag.
func der(tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b := []byte{tag}
	switch {
	case n < 1<<7:
		b = append(b, byte(n))
	case n < 1<<8:
		b = append(b, 0x81, byte(n))
	case n < 1<<16:
		b = append(b, 0x82, byte(n>>8), byte(n))
	case n < 1<<24:
		b = append(b, 0x83, byte(n>>16), byte(n>>8), byte(n))
	default:
		b = append(b, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
