package pgembed

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// transplant copies the installation around bin into the data directory and returns its new bin.
// Files are linked where the file system allows, which takes no space.
func transplant(bin string, p place) (string, error) {
	from := filepath.Dir(bin)
	to := filepath.Join(p.dir, filepath.Base(from))
	target := filepath.Join(to, filepath.Base(bin))
	if complete(target) {
		return target, nil
	}
	staging := to + ".new"
	if err := os.RemoveAll(staging); err != nil {
		return "", fmt.Errorf("clearing a half copied PostgreSQL: %w", err)
	}
	if err := linkTree(from, staging); err != nil {
		return "", fmt.Errorf("copying PostgreSQL to where user %d may run it: %w", p.uid, err)
	}
	if err := os.Rename(staging, to); err != nil {
		return "", fmt.Errorf("putting the copied PostgreSQL in place: %w", err)
	}
	return target, nil
}

func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return linkEntry(path, filepath.Join(to, rel), entry)
	})
}

func linkEntry(from, to string, entry fs.DirEntry) error {
	switch {
	case entry.IsDir():
		return os.Mkdir(to, 0o755)
	case entry.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case os.Link(from, to) == nil:
		return nil
	default:
		return copyFile(from, to)
	}
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
