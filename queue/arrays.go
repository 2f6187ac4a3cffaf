package queue

import (
	"database/sql/driver"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// Arrays travel in PostgreSQL's binary format, because as text each byte of a
// body would be two, and be parsed twice. It is: dimensions (0 or 1), whether
// there are NULLs (0), the elements' type, then of each dimension its length
// and first index, then each element after its length (int32, big-endian).
type (
	uuidArray  []uuid.UUID
	byteaArray [][]byte
	textArray  []string
	timeArray  []time.Time
)

// Object identifiers of the element types (pg_type.dat).
const (
	oidBytea       = 17
	oidText        = 25
	oidTimestamptz = 1184
	oidUUID        = 2950
)

func arrayHead(n, size int, oid uint32) []byte {
	out := make([]byte, 0, 20+size)
	if n == 0 {
		return binary.BigEndian.AppendUint32(append(out, 0, 0, 0, 0, 0, 0, 0, 0), oid)
	}
	out = binary.BigEndian.AppendUint32(append(out, 0, 0, 0, 1, 0, 0, 0, 0), oid)
	out = binary.BigEndian.AppendUint32(out, uint32(n))
	return append(out, 0, 0, 0, 1)
}

// Value implements driver.Valuer.
func (a uuidArray) Value() (driver.Value, error) {
	out := arrayHead(len(a), 20*len(a), oidUUID)
	for i := range a {
		out = append(append(out, 0, 0, 0, 16), a[i][:]...)
	}
	return out, nil
}

// Value implements driver.Valuer. A nil element is empty, not NULL.
func (a byteaArray) Value() (driver.Value, error) {
	return variable(a, oidBytea), nil
}

// Value implements driver.Valuer.
func (a textArray) Value() (driver.Value, error) {
	return variable(a, oidText), nil
}

func variable[T string | []byte](a []T, oid uint32) []byte {
	size := 4 * len(a)
	for _, v := range a {
		size += len(v)
	}
	out := arrayHead(len(a), size, oid)
	for _, v := range a {
		out = binary.BigEndian.AppendUint32(out, uint32(len(v)))
		out = append(out, v...)
	}
	return out
}

// pgEpoch is where timestamps count from, in microseconds.
var pgEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Value implements driver.Valuer.
func (a timeArray) Value() (driver.Value, error) {
	out := arrayHead(len(a), 12*len(a), oidTimestamptz)
	for _, t := range a {
		out = append(out, 0, 0, 0, 8)
		out = binary.BigEndian.AppendUint64(out, uint64(t.UnixMicro()-pgEpoch.UnixMicro()))
	}
	return out, nil
}

// instant reads a time. One that Go has no time for, such as infinity, is zero:
// a row that somebody has spoilt must not hide those beside it.
type instant struct{ to *time.Time }

// Scan implements sql.Scanner.
func (i instant) Scan(v any) error {
	*i.to, _ = v.(time.Time)
	return nil
}
