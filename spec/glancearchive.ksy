# The structure of a glancearchive volume (see SPEC.md), for https://kaitai.io/.
#
# Two processing classes have to be supplied in the target language (for Python they are in tests/kaitai/):
#   glancearchive_header    checks header_digest of a record header, and passes the header on
#   glancearchive_payload   checks payload_digest, then decompresses the zstd frame
# What Kaitai Struct cannot express is left out: the chain, frames' contents, images. Keys of structured records are
# found by looking through `map_entries`; the types `frame_index`, `block_digests` and `extents` are for their bins.
meta:
  id: glancearchive
  title: Archive of OpenStack Glance images
  file-extension: gla
  license: Apache-2.0
  ks-version: "0.10"
  endian: le
doc: A volume is a sequence of records, each a 112-byte header (a zstd skippable frame) and a payload (a zstd frame).
seq:
  - id: records
    type: record
    repeat: until
    repeat-until: _io.eof
instances:
  volume:
    pos: 20
    type: u4
    doc: As the first record says; all others must say the same.
  archive_id:
    pos: 24
    size: 16
enums:
  record_type:
    1: header
    2: frame
    3: checkpoint
    4: catalog
    5: end
    129: padding
types:
  record:
    seq:
      - id: header
        size: 112
        process: glancearchive_header
        type: record_header(_io.pos - 112)
      - id: frame
        size: header.stored_size
        if: header.type == 2
        doc: Packed blocks, as stored (a zstd frame).
      - id: payload
        size: header.stored_size
        process: glancearchive_payload(header.raw_size, header.payload_digest)
        type: structured
        if: header.type != 2 and header.type < 128
      - id: ancillary
        size: header.stored_size
        process: glancearchive_payload(header.raw_size, header.payload_digest)
        if: header.type >= 128
        doc: A structured record that is not decoded (an isolated catalog, which begins with one, is no volume).
      - id: end_copy
        size: 112
        valid: raw_header
        if: header.type == 5
    instances:
      raw_header:
        io: _root._io
        pos: header.offset
        size: 112
  record_header:
    params:
      - id: begin
        type: u8
    seq:
      - id: skippable_magic
        contents: [0x57, 0x2a, 0x4d, 0x18]
      - id: skippable_size
        type: u4
        valid: 104
      - id: signature
        contents: [0x89, "GLA", 0x0d, 0x0a, 0x1a, 0x0a]
      - id: version
        type: u1
        valid: 1
      - id: type
        type: u1
        valid:
          expr: (_ >= 1 and _ <= 5) or _ >= 128
      - id: flags
        type: u2
        valid: 0
      - id: volume
        type: u4
        valid:
          expr: _ >= 1 and _ <= 65535 and _ == _root.volume
      - id: archive_id
        size: 16
        valid: _root.archive_id
      - id: number
        type: u8
      - id: offset
        type: u8
        valid: begin
      - id: stored_size
        type: u4
        valid:
          min: 1
      - id: raw_size
        type: u4
        valid:
          expr: '_ >= 1 and _ <= (type == 2 ? 67108864 : 16777216) and stored_size <= _ + _ / 256 + 128'
      - id: payload_digest
        size: 32
      - id: header_digest
        size: 16
    instances:
      kind:
        value: type
        enum: record_type
        if: type <= 5 or type == 129
  structured:
    seq:
      - id: document
        type: value(0)
        valid:
          expr: _.is_map
      - id: rest
        size-eos: true
        valid:
          expr: _.length == 0
  value:
    doc: One MessagePack value in canonical encoding; float 32, extension types and forms that are not the shortest are refused.
    params:
      - id: depth
        type: u1
    seq:
      - id: first
        type: u1
        valid:
          expr: '_ != 0xc1 and not (_ >= 0xc7 and _ <= 0xca) and not (_ >= 0xd4 and _ <= 0xd8) and
            (depth < 16 or not ((_ >= 0x80 and _ <= 0x9f) or (_ >= 0xdc and _ <= 0xdf)))'
      - id: long_uint
        type:
          switch-on: first
          cases:
            0xcc: u1
            0xcd: u2be
            0xce: u4be
            0xcf: u8be
        valid:
          expr: '_ >= (first == 0xcc ? 0x80 : first == 0xcd ? 0x100 : first == 0xce ? 0x10000 : 0x100000000)'
        if: first >= 0xcc and first <= 0xcf
      - id: long_int
        type:
          switch-on: first
          cases:
            0xd0: s1
            0xd1: s2be
            0xd2: s4be
            0xd3: s8be
        valid:
          expr: '_ < (first == 0xd0 ? -0x20 : first == 0xd1 ? -0x80 : first == 0xd2 ? -0x8000 : -0x80000000)'
        if: first >= 0xd0 and first <= 0xd3
      - id: float_value
        type: f8be
        valid:
          expr: _ - _ == 0
        if: first == 0xcb
      - id: long_length
        type:
          switch-on: first
          cases:
            0xc4: u1
            0xd9: u1
            0xc5: u2be
            0xda: u2be
            0xdc: u2be
            0xde: u2be
            0xc6: u4be
            0xdb: u4be
            0xdd: u4be
            0xdf: u4be
        valid:
          expr: '_ >= (first == 0xc4 ? 0 : first == 0xd9 ? 32 : first == 0xc5 or first == 0xda ? 0x100 : first == 0xdc or first == 0xde ? 16 : 0x10000)'
        if: (first >= 0xc4 and first <= 0xc6) or (first >= 0xd9 and first <= 0xdf)
      - id: bin_value
        size: length
        if: is_bin
      - id: str_value
        type: str
        size: length
        encoding: UTF-8
        if: is_str
      - id: array_items
        type: value(depth + 1)
        repeat: expr
        repeat-expr: length
        if: is_array
      - id: map_entries
        type: map_entry(_index, depth + 1)
        repeat: expr
        repeat-expr: length
        if: is_map
    instances:
      is_bin:
        value: first >= 0xc4 and first <= 0xc6
      is_str:
        value: (first >= 0xa0 and first <= 0xbf) or (first >= 0xd9 and first <= 0xdb)
      is_array:
        value: (first >= 0x90 and first <= 0x9f) or first == 0xdc or first == 0xdd
      is_map:
        value: (first >= 0x80 and first <= 0x8f) or first == 0xde or first == 0xdf
      is_nil:
        value: first == 0xc0
      is_bool:
        value: first == 0xc2 or first == 0xc3
      bool_value:
        value: first == 0xc3
        if: is_bool
      is_float:
        value: first == 0xcb
      is_int:
        value: first <= 0x7f or first >= 0xe0 or (first >= 0xcc and first <= 0xd3)
      int_value:
        value: 'first <= 0x7f ? first : first >= 0xe0 ? first - 0x100 : first <= 0xcf ? long_uint : long_int'
        if: is_int
      length:
        value: 'first >= 0xc0 ? long_length : first >= 0xa0 ? first & 0x1f : first & 0x0f'
        if: is_bin or is_str or is_array or is_map
  map_entry:
    params:
      - id: index
        type: u4
      - id: depth
        type: u1
    seq:
      - id: key
        type: value(depth)
        valid:
          expr: _.is_str and (index == 0 or _parent.map_entries[index - 1].key.str_value < _.str_value)
      - id: value
        type: value(depth)
  frame_index:
    seq:
      - id: rows
        type: frame_row
        repeat: eos
  frame_row:
    seq:
      - id: offset
        type: u8
      - id: stored_size
        type: u4
      - id: raw_size
        type: u4
      - id: payload_digest
        size: 32
  block_digests:
    seq:
      - id: digests
        size: 16
        repeat: eos
  extents:
    seq:
      - id: rows
        type: extent
        repeat: eos
  extent:
    seq:
      - id: start
        type: u8
        valid:
          expr: _ < 0x4000000000000000 or _ == 0xffffffffffffffff
      - id: count
        type: u8
        valid:
          min: 1
    instances:
      is_zeros:
        value: start == 0xffffffffffffffff
