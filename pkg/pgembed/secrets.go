package pgembed

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// secrets is the content of connections.json: what must survive a restart.
type secrets struct {
	Port    int    `json:"port"`
	Admin   string `json:"postgres_password"`
	Central string `json:"central_server_password"`
	ML      string `json:"ml_server_ro_password"`
}

func secretsFile(p place) string { return filepath.Join(p.dir, "connections.json") }

// loadSecrets reads the passwords, or makes and saves new ones where there is no cluster yet.
func loadSecrets(p place) (secrets, error) {
	text, err := os.ReadFile(secretsFile(p))
	if errors.Is(err, fs.ErrNotExist) {
		return newSecrets(p)
	}
	if err != nil {
		return secrets{}, fmt.Errorf("reading the database passwords: %w", err)
	}
	var s secrets
	if err := json.Unmarshal(text, &s); err != nil {
		return secrets{}, fmt.Errorf("reading the database passwords in %s: %w", secretsFile(p), err)
	}
	return s, nil
}

func newSecrets(p place) (secrets, error) {
	major, err := p.major()
	if err != nil {
		return secrets{}, err
	}
	if major != 0 {
		return secrets{}, fmt.Errorf("%s has a database but %s, which holds its passwords, is gone: restore it from a backup",
			p.dir, secretsFile(p))
	}
	s := secrets{Admin: rand.Text(), Central: rand.Text(), ML: rand.Text()}
	return s, s.save(p)
}

func (s secrets) save(p place) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the database passwords: %w", err)
	}
	return writePrivate(secretsFile(p), append(text, '\n'))
}

// writePrivate replaces a file at once, so that a crash leaves the old or the new one, and neither
// readable by others at any time.
func writePrivate(path string, text []byte) (err error) {
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
