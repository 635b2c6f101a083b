package migrate

import (
	"testing"
	"testing/fstest"
)

// FuzzMetadata reads what developers write: nothing of it breaks the reader.
func FuzzMetadata(f *testing.F) {
	for _, s := range []string{
		"Categories:\n  - Internet\n  - 2.0\nAntiFeatures:\n  Ads: {en-US: x}\nBuilds:\n  - versionCode: 1\n    antifeatures: [KnownVuln]\n",
		"AntiFeatures: Ads\nNoSourceSince: 1.5\nDisabled: true\nCurrentVersionCode: 0x10\n", "Builds: 1\n", "- a\n", "a: &x [*x]\n", "Name: |\n  two\n  lines\n", "? {a: b}\n: c\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := &reader{ctx: t.Context(), fs: fstest.MapFS{"metadata/org.example.a.yml": {Data: in}}, out: &Repository{}}
		list, err := r.metadatas()
		if err != nil {
			t.Fatal(err)
		}
		if m := list["org.example.a"]; m != nil {
			asMap(m.AntiFeatures)
			for i := range m.Builds {
				asMap(m.Builds[i].AntiFeatures)
			}
			m.disabled(1)
		} else if len(r.out.Problems) != 1 {
			t.Errorf("it was left out without a word")
		}
	})
}
