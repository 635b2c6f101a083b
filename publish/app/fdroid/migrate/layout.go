package migrate

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"mios/publish/app/fdroid"
)

// layout writes what people see of an app into a folder, as fastlane has it.
// Pictures that were taken out of a package are no part of it.
func (r *Repository) layout(a *fdroid.App, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for name, texts := range map[string]fdroid.Text{
		"title.txt": a.Name, "short_description.txt": a.Summary, "full_description.txt": a.Description, "video.txt": a.Video,
	} {
		for locale, text := range texts {
			if err := writeText(root, path.Join(locale, name), text); err != nil {
				return err
			}
		}
	}
	for _, v := range a.Versions {
		for locale, text := range v.WhatsNew {
			if err := writeText(root, path.Join(locale, "changelogs", fmt.Sprintf("%d.txt", v.Code)), text); err != nil {
				return err
			}
		}
	}
	for name, to := range pictures {
		for locale, f := range *to(a) {
			if err := r.picture(root, f, path.Join(locale, "images", name+path.Ext(f.Name))); err != nil {
				return err
			}
		}
	}
	for folder, to := range series {
		for locale, list := range *to(a) {
			for _, f := range list {
				if err := r.picture(root, f, path.Join(locale, "images", folder, path.Base(f.Name))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func writeText(root *os.Root, name, text string) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return root.WriteFile(name, []byte(text), 0o600)
}

// picture copies a picture that the apps name.
func (r *Repository) picture(root *os.Root, f fdroid.File, name string) error {
	if r.Files[f.Name].Entry != "" {
		return nil
	}
	from, err := r.Open(f.Name)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	to, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if err2 := to.Close(); err == nil {
		err = err2
	}
	return err
}
