package ota

import "testing"

func TestAmount(t *testing.T) {
	for _, c := range []struct {
		done, total int64
		want        string
	}{{0, 2900, "2900 bytes"}, {1653, 2900, "57 % of 2900 bytes"}, {0, 500 << 10, "500.0 KiB"}, {5 << 20, 10 << 20, "50 % of 10.0 MiB"}} {
		p := Progress{Done: c.done, Total: c.total}
		if got := p.amount(); got != c.want {
			t.Errorf("amount of %d of %d = %q, want %q", c.done, c.total, got, c.want)
		}
	}
}
