;; A guest that does what the last byte of its input says, so that each way to fail can be asked for.
;; It answers with an i64 in little-endian, in an outcome that stands ready at 3000.
(module
  (memory (export "memory") 1 2)
  (global (export "concoord_abi") i32 (i32.const 1))
  (global (export "concoord_panic") i32 (i32.const 2000))
  (global $calls (mut i64) (i64.const 0))
  (global $half (mut f32) (f32.const 0.5))
  (global $third (mut f64) (f64.const 0.25))
  (table 2 funcref)
  (data (i32.const 3000) "\01\00\08........\00\00\00\00")
  (data (i32.const 3100) "\07garbage")
  (data (i32.const 3200) "\00\00\00\00\00\2a")
  (data (i32.const 2500) "no more apples, at guest.wat:1")
  (data (i32.const 4000) "DESCRIPTION")

  (func (export "_initialize") (i64.store (i32.const 5000) (i64.const 11)))
  (func (export "concoord_describe") (result i64)
    (i64.store (i32.const 5008) (i64.const 99)) (drop (memory.grow (i32.const 1)))
    (i64.or (i64.shl (i64.const 4000) (i64.const 32)) (i64.const DESCRIPTION_LENGTH)))
  (func (export "concoord_export") (result i64) (i64.const 0))
  (func (export "concoord_import") (param i32) (result i64) (i64.const 0))

  ;; Inputs over 50,000 bytes get a place outside the memory.
  (func (export "concoord_buffer") (param $length i32) (result i32)
    (if (result i32) (i32.gt_u (local.get $length) (i32.const 50000))
      (then (i32.const 0xffff0000)) (else (i32.const 8192))))

  (func $reply (param $value i64) (result i64)
    (i64.store (i32.const 3003) (local.get $value))
    (i64.or (i64.shl (i64.const 3000) (i64.const 32)) (i64.const 15)))

  ;; Writes wherever an object can: memory and each global.
  (func $scribble
    (i64.store (i32.const 6000) (i64.add (i64.load (i32.const 6000)) (i64.const 1)))
    (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
    (global.set $half (f32.add (global.get $half) (f32.const 1)))
    (global.set $third (f64.add (global.get $third) (f64.const 1))))

  (func $recurse (param i32) (result i32)
    (i32.add (call $recurse (i32.add (local.get 0) (i32.const 1))) (local.get 0)))

  (func (export "concoord_call") (param $length i32) (result i64)
    (local $command i32)
    (local.set $command (i32.load8_u (i32.add (i32.const 8191) (local.get $length))))
    (call $scribble)
    (block $state (block $panic (block $grow_panic (block $load (block $divide (block $indirect (block $outside
    (block $oversize (block $garbage (block $trailing (block $grow (block $grow_all (block $spin (block $recursion
    (block $nan (block $silent
      (br_table $state $panic $grow_panic $load $divide $indirect $outside $oversize $garbage $trailing $grow $grow_all
        $spin $recursion $nan $silent (local.get $command)))
      ;; 15 silent: stops itself without words
      unreachable)
      ;; 14 nan: the bits of 0/0
      (return (call $reply (i64.reinterpret_f64 (f64.div (f64.const 0) (f64.convert_i64_u (i64.const 0)))))))
      ;; 13 recursion
      (return (call $reply (i64.extend_i32_u (call $recurse (i32.const 0))))))
      ;; 12 spin
      (loop $again (br $again)))
      ;; 11 grow_all: far more pages than there are addresses for
      (return (call $reply (i64.extend_i32_s (memory.grow (i32.const 65535))))))
      ;; 10 grow
      (return (call $reply (i64.extend_i32_s (memory.grow (i32.const 1))))))
      ;; 9 trailing: an empty outcome and one byte more
      (return (i64.or (i64.shl (i64.const 3200) (i64.const 32)) (i64.const 6))))
      ;; 8 garbage
      (return (i64.or (i64.shl (i64.const 3100) (i64.const 32)) (i64.const 8))))
      ;; 7 oversize
      (return (i64.const 0x00000000_7fffffff)))
      ;; 6 outside
      (return (i64.const 0xffffff00_00000100)))
      ;; 5 indirect
      (call_indirect (i32.const 1)) unreachable)
      ;; 4 divide
      (return (call $reply (i64.extend_i32_u (i32.div_u (i32.const 1) (i32.load (i32.const 7000)))))))
      ;; 3 load
      (return (call $reply (i64.load (i32.const 0x7fffffff)))))
      ;; 2 grow_panic
      (drop (memory.grow (i32.const 1)))
      (i32.store (i32.const 70000) (i32.const 5)))
      ;; 1 panic
      (memory.copy (i32.const 2004) (i32.const 2500) (i32.const 30))
      (i32.store (i32.const 2000) (i32.const 30))
      unreachable)
    ;; 0 state: the count in memory, and the three globals added
    (call $reply (i64.add
      (i64.mul (i64.load (i32.const 6000)) (i64.const 1000))
      (i64.add (global.get $calls) (i64.trunc_f64_s (f64.mul (f64.const 4)
        (f64.add (f64.promote_f32 (global.get $half)) (global.get $third)))))))))
