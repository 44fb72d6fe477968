package address

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// claim is what is written down about an address that was taken here.
type claim struct {
	Prefix     netip.Prefix `json:"prefix"`
	Interface  string       `json:"interface"`
	Since      time.Time    `json:"since"`
	Generation uint64       `json:"generation"`
	Epoch      uint64       `json:"epoch"`
}

// claimFile is the name of a claim in the part's run folder.
const claimFile = "address.json"

// loadClaim reads the claim in dir; false means there is none.
func loadClaim(dir string) (claim, bool, error) {
	path := filepath.Join(dir, claimFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return claim{}, false, nil
	}
	if err != nil {
		return claim{}, false, fmt.Errorf("read what was written about the address: %w", err)
	}
	c, err := parseClaim(text)
	if err != nil {
		return claim{}, false, fmt.Errorf("read %s: %w; remove the address by hand, then this file", path, err)
	}
	return c, true, nil
}

// TakenBy returns the address that the part whose run folder is dir has taken on this
// host; false if it has none, or what it wrote down cannot be read.
func TakenBy(dir string) (netip.Addr, bool) {
	c, found, err := loadClaim(dir)
	return c.Prefix.Addr().Unmap(), found && err == nil
}

func parseClaim(text []byte) (claim, error) {
	var c claim
	if err := json.Unmarshal(text, &c); err != nil {
		return claim{}, err
	}
	if !c.Prefix.IsValid() || c.Interface == "" {
		return claim{}, errors.New("it names no address or no interface")
	}
	return c, nil
}

// save writes the claim, whole or not at all. The folder is on tmpfs, so there
// is nothing to sync.
func (c claim) save(dir string) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write down the address: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write down the address: %w", err)
	}
	path := filepath.Join(dir, claimFile)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return fmt.Errorf("write down the address: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write down the address: %w", err)
	}
	return nil
}

// forget removes the claim in dir, if there is one.
func forget(dir string) error {
	if err := os.Remove(filepath.Join(dir, claimFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the address: %w", err)
	}
	return nil
}
