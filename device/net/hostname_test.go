package netd

import (
	"strings"
	"testing"
)

func TestIsHostName(t *testing.T) {
	for _, s := range []string{"a", "box", "a-b.example.com", "0", "A9", strings.Repeat("a", 253)} {
		if !isHostName(s) {
			t.Errorf("isHostName(%q) = false", s)
		}
	}
	for _, s := range []string{"", "-", ".a", "a.", "a-", "a b", "a\n", "a/b", "ä", strings.Repeat("a", 254)} {
		if isHostName(s) {
			t.Errorf("isHostName(%q) = true", s)
		}
	}
}
