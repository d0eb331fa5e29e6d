// Package audit seals the log of who did what, and proves that nobody changed it.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// version of the encoding; another one is added beside it, for what is sealed stays sealed.
const version = 1

// next is the seal of an entry behind another seal. What is hashed is described in db/README.md.
func next(before store.Seal, e *store.Entry) (store.Seal, error) {
	seal := store.Seal{Sequence: before.Sequence + 1, Version: version}
	detail, err := canonical(e.Detail)
	if err != nil {
		return seal, fmt.Errorf("reading the detail of audit entry %d: %w", e.ID, err)
	}
	hash := sha256.New()
	for _, field := range [][]byte{
		[]byte("cloudoptim/audit/" + strconv.Itoa(version)),
		before.Hash,
		strconv.AppendInt(nil, seal.Sequence, 10),
		strconv.AppendInt(nil, e.ID, 10),
		e.At.UTC().AppendFormat(nil, "2006-01-02T15:04:05.000000Z"),
		[]byte(e.Actor),
		[]byte(e.Action),
		[]byte(id(e.Customer.Valid, e.Customer.UUID)),
		[]byte(id(e.Cluster.Valid, e.Cluster.UUID)),
		[]byte(e.Subject),
		detail,
		[]byte(e.RequestID),
	} {
		// Each with its length before it, or a letter could move from one field to the next.
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(field))))
		hash.Write(field)
	}
	seal.Hash = hash.Sum(nil)
	return seal, nil
}

func id(valid bool, id fmt.Stringer) string {
	if !valid {
		return ""
	}
	return id.String()
}

// canonical is JSON with sorted keys and no spaces: how PostgreSQL prints it does not matter.
// Numbers stay as they are written, digit by digit.
func canonical(raw []byte) ([]byte, error) {
	in := json.NewDecoder(bytes.NewReader(raw))
	in.UseNumber()
	var value any
	if err := in.Decode(&value); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// anchorEvery is how often the head is said in the server's own log: kept elsewhere, it
// shows later whether the end was cut off.
const anchorEvery = time.Hour
