// Command generate writes the embedded market snapshot: plain facts about EC2
// instance types and their prices, taken from two published Go modules that
// this module pins. Run it with `go generate` in the catalogue's folder.
//
// The modules are read as files, not imported: one embeds 96 MB of JSON and
// hides the per-zone prices from its Go types, the other would compile a whole
// Kubernetes controller for the sake of two tables.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	infoModule      = "github.com/LeanerCloud/ec2-instances-info"
	karpenterModule = "github.com/aws/karpenter-provider-aws"

	// infoAsOf is when the info module's prices were true. The module was
	// published a month later, but its per-zone prices lie inside the day's
	// low and high of 24 April in an independent archive.
	infoAsOf = "2025-04-24T00:00:00Z"
	// karpenterAsOf is the date its price table states.
	karpenterAsOf = "2026-07-06T14:20:29Z"
)

func main() {
	out := flag.String("out", "..", "folder to write types.csv.gz, prices.csv.gz and snapshot.json to")
	flag.Parse()
	if err := run(*out); err != nil {
		log.Fatal(err)
	}
}

func run(out string) error {
	infoDir, err := moduleDir(infoModule)
	if err != nil {
		return err
	}
	karpenterDir, err := moduleDir(karpenterModule)
	if err != nil {
		return err
	}
	instances, err := readInstances(filepath.Join(infoDir, "data", "instances.json"))
	if err != nil {
		return err
	}
	limits, err := readLimits(filepath.Join(karpenterDir, "pkg/providers/instancetype/zz_generated.vpclimits.go"))
	if err != nil {
		return err
	}
	onDemand, err := readOnDemand(filepath.Join(karpenterDir, "pkg/providers/pricing/zz_generated.pricing_aws.go"))
	if err != nil {
		return err
	}
	types := typeRows(instances, limits)
	prices := priceRows(instances, types, onDemand)
	if err := writeCSV(filepath.Join(out, "types.csv.gz"), typeHeader, types); err != nil {
		return err
	}
	if err := writeCSV(filepath.Join(out, "prices.csv.gz"), priceHeader, prices); err != nil {
		return err
	}
	log.Printf("%d types, %d prices of a type in a region", len(types), len(prices))
	return writeMeta(filepath.Join(out, "snapshot.json"))
}

// moduleDir asks the go command, which checks go.sum, where a module lies.
func moduleDir(path string) (string, error) {
	download := exec.Command("go", "mod", "download", path)
	if text, err := download.CombinedOutput(); err != nil {
		return "", fmt.Errorf("downloading %s: %w: %s", path, err, text)
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", path, err)
	}
	return strings.TrimSpace(string(dir)), nil
}

func writeMeta(path string) error {
	meta := map[string]any{
		"types_as_of":            infoAsOf,
		"spot_as_of":             infoAsOf,
		"advisor_as_of":          infoAsOf,
		"on_demand_as_of":        infoAsOf,
		"on_demand_as_of_region": map[string]string{"us-east-1": karpenterAsOf},
		"sources": []string{
			"types, spot prices, interruption buckets, on-demand prices outside us-east-1: github.com/cristim/ec2-instances-info v0.0.0-20250528091325-32acf84f42eb",
			"on-demand prices of us-east-1, network interface limits: " + karpenterModule + " v1.14.1",
		},
		"zones": "The source lists a type's spot prices in a region sorted by price, without zone names. " +
			"Zones are lettered by how many types they offer, most first; a type's prices are dealt to its zones " +
			"in an order that a hash of the type's name decides. So the set of prices is real, and which zone has which is not.",
	}
	text, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the metadata: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func writeCSV(path string, header []string, rows [][]string) error {
	var text bytes.Buffer
	zip, err := gzip.NewWriterLevel(&text, gzip.BestCompression)
	if err != nil {
		return fmt.Errorf("compressing: %w", err)
	}
	table := csv.NewWriter(zip)
	if err := table.WriteAll(append([][]string{header}, rows...)); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := zip.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", path, err)
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}
