package apksig

import (
	"fmt"

	"mios"
)

// A JARFile is an entry that belongs to the signature of a JAR.
type JARFile struct {
	Name string
	Data []byte
}

// SignJAR returns the entries that sign a JAR whose other entries have these
// SHA-256: META-INF/MANIFEST.MF, which has to be the JAR's first, the signature
// file and its block. It is what the JDK's jarsigner verifies and F-Droid's
// clients demand of a repository's indexes: digests of SHA-256 alone, and one
// certificate. The bytes are the same each time if the key's signatures are.
func SignJAR(s Signer, entries map[string]mios.Digest) ([]JARFile, error) {
	signer, err := newV1Signer(s, 0, sdkSHA256)
	if err != nil {
		return nil, fmt.Errorf("sign jar: %w", err)
	}
	sums := make(map[string][]byte, len(entries))
	for name, d := range entries {
		sums[name] = d[:]
	}
	p := &signPlan{minSDK: sdkSHA256, v1: []v1Signer{signer}}
	made, err := p.v1Entries(sums, nil, "1.0 (miOS)")
	if err != nil {
		return nil, fmt.Errorf("sign jar: %w", err)
	}
	out := make([]JARFile, 0, len(made))
	for i := range made { // the manifest is the last
		e := made[(i+len(made)-1)%len(made)]
		out = append(out, JARFile{e.name, e.data})
	}
	return out, nil
}

// sdkSHA256 is the first platform whose JAR signatures may be of SHA-256 with
// every kind of key.
const sdkSHA256 = 21
