package main

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"flag"
	"fmt"

	"mios"
	"mios/publish/ota"
)

var publishZip = command{"publish zip", "[flags] ZIP...", "publish OTA zips for the updaters of GrapheneOS and LineageOS\n" +
	"Each is of a release that is published: its full package, or one from an older build. The\n" +
	"release's newest packages are shown in os/PRODUCT/ARCH/updaters, once all devices are offered it.",
	func(ctx context.Context, e env, args []string) error {
		f := newRepoFlags(e)
		dir := f.String("repo", "repo", "`folder` of the repository")
		cert := f.String("cert", "", "`file` with the certificates that the devices trust packages by (default: the ota keys at hand)")
		base := f.String("base-url", "", "`address` of the repository's public folder, for LineageOS's updater (default: as before; without one it has no view)")
		romtype := f.String("romtype", "", "`name` that LineageOS's updater compares with ro.lineage.releasetype (default: as before, or the channel)")
		version := f.String("lineage-version", "", "`version` that LineageOS's updater compares with ro.lineage.build.version (default: as before, or the package's Android version)")
		anyRegion := f.Bool("any-region", false, "show releases that are for some regions only, too: all who read the views are there; =false takes it back")
		if err := parse(f.FlagSet, args, 1, 1000); err != nil {
			return err
		}
		r, keys, err := f.open(e, *dir)
		if err != nil {
			return err
		}
		z := ota.Zips{Settings: func(s *ota.ViewSettings) {
			for _, v := range []struct {
				to   *string
				from string
			}{{&s.BaseURL, *base}, {&s.ROMType, *romtype}, {&s.Version, *version}} {
				if v.from != "" {
					*v.to = v.from
				}
			}
			f.Visit(func(o *flag.Flag) {
				if o.Name == "any-region" {
					s.AnyRegion = *anyRegion
				}
			})
		}}
		if z.Keys, err = payloadKeys(keys); err != nil {
			return err
		}
		if *cert != "" {
			if z.Certificates, err = otaCertificates(*cert); err != nil {
				return err
			}
		}
		for _, k := range z.Keys {
			if *cert == "" {
				z.Certificates = append(z.Certificates, certificateOf(k))
			}
		}
		if len(z.Certificates) == 0 {
			return fmt.Errorf("no certificate to verify the packages with: %w: name the devices' with --cert", mios.ErrNotFound)
		}
		zips, views, err := ota.PublishZips(ctx, r, z, f.Args()...)
		if err != nil {
			return err
		}
		if f.json {
			return printJSON(e, struct {
				Zips  []ota.Zip  `json:"zips"`
				Views []ota.View `json:"views"`
			}{zips, append([]ota.View{}, views...)})
		}
		for _, z := range zips {
			fmt.Fprintf(e.stdout, "published %s of %s %s for %s\n", z.File, z.Release.Product, z.Release.Version, z.Release.Arch)
		}
		for _, v := range views {
			fmt.Fprintf(e.stdout, "now %s\n%s", v.Name, v.Content)
		}
		return nil
	}}

// certificateOf returns what recovery asks a certificate for: its key, and the
// hash that it goes with, which today is SHA-256.
func certificateOf(k *rsa.PublicKey) *x509.Certificate {
	return &x509.Certificate{PublicKey: k, SignatureAlgorithm: x509.SHA256WithRSA}
}
