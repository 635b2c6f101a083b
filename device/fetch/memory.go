package fetch

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"mios/internal/atomicfile"
)

// remembered makes the mirror first that worked when the device last ran.
func (c *Client) remembered() {
	if c.Memory == "" {
		return
	}
	b, err := os.ReadFile(c.Memory)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.warn("which mirror worked last is not known", "err", err)
		}
		return
	}
	mirror := string(b)
	c.kept.Store(&mirror)
	if i := slices.Index(c.Mirrors, mirror); i >= 0 { // a new build may name others
		c.first.Store(int32(i))
	}
}

// remember keeps which mirror works, if that is another one than before.
func (c *Client) remember(mirror string) {
	if c.Memory == "" || len(c.Mirrors) < 2 {
		return
	}
	if was := c.kept.Load(); was != nil && *was == mirror {
		return
	}
	c.kept.Store(&mirror)
	if err := atomicfile.WriteBytes(c.Memory, []byte(mirror), 0o600); err != nil {
		c.warn("which mirror works is forgotten at the next start", "err", err)
	}
}
