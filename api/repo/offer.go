package repo

import (
	"fmt"
	"slices"
	"strings"

	"mios"
	"mios/api"
)

// OSOffer returns the newest release that is for this device, which is named id
// and in the region (as [api.Place] has it): newer than what runs, neither
// halted nor withdrawn, and with a share that includes the device. Where there
// is none the error wraps [mios.ErrNotFound], and says for whom the newest one
// is that is newer.
func (c *Client) OSOffer(d *api.Device, id, region string) (*OSRelease, error) {
	s := c.current()
	if err := c.fresh(s); err != nil {
		return nil, err
	}
	list, err := s.osReleases(c.cfg.Product)
	if err != nil {
		return nil, err
	}
	why := ""
	for _, r := range list {
		if r.BuildTime <= d.BuildTime {
			break
		}
		not := r.notFor(d, id, region)
		if not == "" {
			return &r, nil
		}
		if why == "" {
			why = fmt.Sprintf(" (release %s %s)", r.Version, not)
		}
	}
	return nil, fmt.Errorf("no newer release of %s for %s in channel %s: %w%s", c.cfg.Product, d.Arch, d.Channel, mios.ErrNotFound, why)
}

// notFor says why a release is not for a device, or nothing.
func (r *OSRelease) notFor(d *api.Device, id, region string) string {
	place := api.Place{Region: region, Ships: d.Regions}
	switch {
	case r.Arch != d.Arch:
		return fmt.Sprintf("is for %s, and this device is %s", r.Arch, d.Arch)
	case !slices.Contains(r.Channels, d.Channel):
		return fmt.Sprintf("is in channel %s, and this device follows %s", strings.Join(r.Channels, ", "), d.Channel)
	case !place.Allows(r.Regions):
		return fmt.Sprintf("is for %s, and this device is %v", strings.Join(r.Regions, ", "), place)
	case r.Withdrawn:
		return "was withdrawn"
	case r.Halted:
		return "is halted"
	case !r.Share.Includes(id, r.Salt):
		return "goes out step by step, and this device's turn has not come"
	}
	return ""
}
