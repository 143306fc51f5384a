;; A number that is added to, in the text of a module whose versions differ in what stands in capitals. It keeps its state in
;; globals, so that what an upgrade takes over is only what is exported: the number, and in later versions how often it was
;; added to.
(module
  (memory (export "memory") 2)
  (global (export "concoord_abi") i32 (i32.const 1))
  (global $at (mut i32) (i32.const 0))
  (global $value (mut i64) (i64.const 0))
  (global $adds (mut i64) (i64.const 0))
  ;; Ok(()), Err("not of a tally"), and an outcome without reply.
  (data (i32.const 100) "\00")
  (data (i32.const 110) "\01\0enot of a tally")
  (data (i32.const 140) "\00\00\00\00\00")
  (data (i32.const 4000) "DESCRIPTION")

  (func $packed (param $address i32) (param $length i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $address)) (i64.const 32)) (i64.extend_i32_u (local.get $length))))

  (func (export "concoord_describe") (result i64)
    (call $packed (i32.const 4000) (i32.const DESCRIPTION_LENGTH)))
  (func (export "concoord_buffer") (param i32) (result i32) (i32.const 65536))

  (func (export "concoord_export") (result i64)
    (i64.store (i32.const 200) (global.get $value))
    (i64.store (i32.const 208) (global.get $adds))
    (call $packed (i32.const 200) (i32.const EXPORTED_LENGTH)))
  (func (export "concoord_import") (param $length i32) (result i64)
    (if (i32.lt_u (local.get $length) (i32.const 8)) (then (return (call $packed (i32.const 110) (i32.const 16)))))
    (global.set $value (i64.load (i32.const 65536)))
    (if (i32.ge_u (local.get $length) (i32.const 16)) (then (global.set $adds (i64.load (i32.const 65544)))))
    (call $packed (i32.const 100) (i32.const 1)))

  ;; The byte at $at, which goes on.
  (func $byte (result i32)
    (global.set $at (i32.add (global.get $at) (i32.const 1)))
    (i32.load8_u (i32.sub (global.get $at) (i32.const 1))))
  ;; The number at $at, in the variable length of postcard.
  (func $number (result i64)
    (local $number i64) (local $shift i64) (local $byte i64)
    (loop $more
      (local.set $byte (i64.extend_i32_u (call $byte)))
      (local.set $number (i64.or (local.get $number)
        (i64.shl (i64.and (local.get $byte) (i64.const 127)) (local.get $shift))))
      (local.set $shift (i64.add (local.get $shift) (i64.const 7)))
      (br_if $more (i64.ge_u (local.get $byte) (i64.const 128))))
    (local.get $number))
  (func $skip (param $numbers i32)
    (loop $more
      (drop (call $number))
      (local.set $numbers (i32.sub (local.get $numbers) (i32.const 1)))
      (br_if $more (local.get $numbers))))

  ;; The outcome that answers with a number.
  (func $reply (param $value i64) (result i64)
    (local $end i32)
    (i32.store16 (i32.const 300) (i32.const 1))
    (local.set $end (i32.const 303))
    (local.set $value (i64.xor (i64.shl (local.get $value) (i64.const 1)) (i64.shr_s (local.get $value) (i64.const 63))))
    (loop $more
      (i32.store8 (local.get $end) (i32.or (i32.wrap_i64 (i64.and (local.get $value) (i64.const 127)))
        (i32.shl (i64.ge_u (local.get $value) (i64.const 128)) (i32.const 7))))
      (local.set $value (i64.shr_u (local.get $value) (i64.const 7)))
      (local.set $end (i32.add (local.get $end) (i32.const 1)))
      (br_if $more (i64.ne (local.get $value) (i64.const 0))))
    (i32.store8 (i32.const 302) (i32.sub (local.get $end) (i32.const 303)))
    (i32.store (local.get $end) (i32.const 0))
    (call $packed (i32.const 300) (i32.sub (i32.add (local.get $end) (i32.const 4)) (i32.const 300))))

  (func (export "concoord_call") (param $length i32) (result i64)
    (local $trigger i32) (local $letter i32) (local $start i64)
    (global.set $at (i32.const 65536))
    ;; Position, time and seed; the call, if there is one; the caller, if there is one.
    (call $skip (i32.const 3))
    (if (call $byte) (then (call $skip (i32.const 3))))
    (if (call $byte) (then (call $skip (i32.const 2))))
    (local.set $trigger (call $byte))
    (if (i32.eqz (local.get $trigger)) (then
      (local.set $start (call $number))
      (global.set $value (i64.xor (i64.shr_u (local.get $start) (i64.const 1))
        (i64.sub (i64.const 0) (i64.and (local.get $start) (i64.const 1)))))))
    (if (i32.eq (local.get $trigger) (i32.const 3)) (then ENDED))
    (if (i32.ne (local.get $trigger) (i32.const 1)) (then (return (call $packed (i32.const 140) (i32.const 5)))))
    (call $skip (i32.const 1))
    (local.set $letter (call $byte))
    ;; add, count, or get
    (if (i32.eq (local.get $letter) (i32.const 97)) (then
      (global.set $adds (i64.add (global.get $adds) (i64.const 1)))
      (global.set $value (i64.add (global.get $value) (i64.const STEP)))))
    (call $reply (select (global.get $adds) (global.get $value) (i32.eq (local.get $letter) (i32.const 99))))))
