;; An object with 64 MiB of state in which no byte is zero. An update adds one to a number in each of eight places that are
;; far apart; a query, which is an input whose last byte is zero, only adds them up.
(module
  (memory (export "memory") 1025)
  (global (export "concoord_abi") i32 (i32.const 1))
  (data (i32.const 0) "\01\00\08........\00\00\00\00")
  (data (i32.const 100) "DESCRIPTION")
  (func (export "_initialize") (memory.fill (i32.const 65536) (i32.const 1) (i32.const 0x4000000)))
  (func (export "concoord_describe") (result i64)
    (i64.or (i64.shl (i64.const 100) (i64.const 32)) (i64.const DESCRIPTION_LENGTH)))
  (func (export "concoord_export") (result i64) (i64.const 0))
  (func (export "concoord_import") (param i32) (result i64) (i64.const 0))
  (func (export "concoord_buffer") (param i32) (result i32) (i32.const 8192))
  (func (export "concoord_call") (param $length i32) (result i64) (local $place i32) (local $sum i64)
    (local.set $place (i32.const 65536))
    (loop $places
      (local.set $sum (i64.add (local.get $sum) (i64.load (local.get $place))))
      (if (i32.load8_u (i32.add (i32.const 8191) (local.get $length)))
        (then (i64.store (local.get $place) (i64.add (i64.load (local.get $place)) (i64.const 1)))))
      (br_if $places (i32.lt_u
        (local.tee $place (i32.add (local.get $place) (i32.const 0x7fff00))) (i32.const 0x4000000))))
    (i64.store (i32.const 3) (local.get $sum))
    (i64.const 15)))
