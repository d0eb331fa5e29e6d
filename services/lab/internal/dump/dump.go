// Package dump reads what `kubectl get nodes,pods,pdb -A -o json` prints and
// says which objects make a harmless copy of that cluster.
package dump

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Dump is a cluster at one moment.
type Dump struct {
	Nodes []corev1.Node
	Pods  []corev1.Pod
	PDBs  []policyv1.PodDisruptionBudget
}

// ReadFile reads a dump, gzipped or not.
func ReadFile(name string) (*Dump, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := Unzip(f)
	if err != nil {
		return nil, err
	}
	d, err := Read(r)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return d, nil
}

// Unzip passes plain data through and gzipped data unpacked.
func Unzip(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(r)
	magic, err := buffered.Peek(2)
	if err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		return gzip.NewReader(buffered)
	}
	return buffered, nil
}

// Read reads a v1 List. Objects of other kinds are passed over, so that a dump
// of more than was asked for does no harm.
func Read(r io.Reader) (*Dump, error) {
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.NewDecoder(r).Decode(&list); err != nil {
		return nil, err
	}
	d := &Dump{}
	for i, raw := range list.Items {
		if err := d.add(raw); err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
	}
	if len(d.Nodes) == 0 {
		return nil, fmt.Errorf("no nodes among %d items: is it the output of `kubectl get nodes,pods,pdb -A -o json`?", len(list.Items))
	}
	return d, nil
}

func (d *Dump) add(raw json.RawMessage) error {
	var kind metav1.TypeMeta
	if err := json.Unmarshal(raw, &kind); err != nil {
		return err
	}
	switch kind.Kind {
	case "Node":
		return decode(raw, &d.Nodes)
	case "Pod":
		return decode(raw, &d.Pods)
	case "PodDisruptionBudget":
		return decode(raw, &d.PDBs)
	}
	return nil
}

func decode[T any](raw json.RawMessage, into *[]T) error {
	var obj T
	if err := json.Unmarshal(raw, &obj); err != nil {
		return err
	}
	*into = append(*into, obj)
	return nil
}

// Write prints the dump as kubectl would.
func (d *Dump) Write(w io.Writer) error {
	items := make([]any, 0, len(d.Nodes)+len(d.Pods)+len(d.PDBs))
	for i := range d.Nodes {
		d.Nodes[i].TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}
		items = append(items, d.Nodes[i])
	}
	for i := range d.Pods {
		d.Pods[i].TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
		items = append(items, d.Pods[i])
	}
	for i := range d.PDBs {
		d.PDBs[i].TypeMeta = metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"}
		items = append(items, d.PDBs[i])
	}
	out := json.NewEncoder(w)
	out.SetIndent("", " ")
	return out.Encode(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
}
