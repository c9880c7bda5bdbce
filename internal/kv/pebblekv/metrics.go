package pebblekv

// Metrics implements kv.DB. Sizes are octets; names that end in _total only rise while the store is open. A closed or
// failed store has none.
//
//	disk_bytes                 all files of the store, obsolete ones included
//	table_bytes, table_files   live tables
//	l0_files, l0_sublevels     newest level: many mean that compactions lag behind
//	read_amplification         tables that a lookup may have to visit
//	compaction_debt_bytes      what is to be compacted until the store is in shape
//	compactions_running, compactions_total, compactions_failed_total
//	flushes_total, ingests_total
//	flushed_bytes_total, compacted_bytes_total            what they have written: beside what was to be written, the amplification
//	memtable_bytes, memtables
//	cache_bytes, cache_hits_total, cache_misses_total     block cache
//	filter_hits_total, filter_misses_total                table visits that a bloom filter saved, or not
//	wal_bytes, wal_files, wal_written_bytes_total         journal of the engine
//	snapshots, readers         open snapshots; open snapshots and iterators
//	tombstones                 deletions not yet compacted away, roughly
//	background_errors_total, corrupt_blocks_total, write_stalls_total, slow_disk_total
//	format_version             on-disk format of the engine
func (db *DB) Metrics() map[string]int64 {
	if err := db.begin(); err != nil {
		return map[string]int64{}
	}
	defer db.end()
	m := db.p.Metrics()
	all := m.Total()
	return map[string]int64{
		"disk_bytes":               int64(m.DiskSpaceUsage()),
		"table_bytes":              int64(m.Table.Local.LiveSize),
		"table_files":              int64(m.Table.Local.LiveCount),
		"l0_files":                 m.Levels[0].TablesCount,
		"l0_sublevels":             int64(m.Levels[0].Sublevels),
		"read_amplification":       int64(m.ReadAmp()),
		"compaction_debt_bytes":    int64(m.Compact.EstimatedDebt),
		"compactions_running":      m.Compact.NumInProgress,
		"compactions_total":        m.Compact.Count,
		"compactions_failed_total": m.Compact.FailedCount,
		"flushes_total":            m.Flush.Count,
		"flushed_bytes_total":      int64(all.TableBytesFlushed + all.BlobBytesFlushed),
		"compacted_bytes_total":    int64(all.TableBytesCompacted + all.BlobBytesCompacted),
		"ingests_total":            int64(m.Ingest.Count),
		"memtable_bytes":           int64(m.MemTable.Size),
		"memtables":                m.MemTable.Count,
		"cache_bytes":              m.BlockCache.Size,
		"cache_hits_total":         m.BlockCache.Hits,
		"cache_misses_total":       m.BlockCache.Misses,
		"filter_hits_total":        m.Filter.Hits,
		"filter_misses_total":      m.Filter.Misses,
		"wal_bytes":                int64(m.WAL.Size),
		"wal_files":                m.WAL.Files,
		"wal_written_bytes_total":  int64(m.WAL.BytesWritten),
		"snapshots":                int64(m.Snapshots.Count),
		"readers":                  db.readers.Load(),
		"tombstones":               int64(m.Keys.TombstoneCount),
		"background_errors_total":  db.trouble.background.Load(),
		"corrupt_blocks_total":     db.trouble.corrupt.Load(),
		"write_stalls_total":       db.trouble.stalls.Load(),
		"slow_disk_total":          db.trouble.slow.Load(),
		"format_version":           int64(db.p.FormatMajorVersion()),
	}
}
