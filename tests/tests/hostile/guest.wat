;; An object that does no harm but for what stands in capitals. `go` and `look` do the same.
(module
  FIELDS
  (type $takes (func (param i32) (result i32)))
  (memory (export "memory") PAGES)
  (global (export "concoord_abi") i32 (i32.const 1))
  (global (export "concoord_panic") i32 (i32.const PANIC))
  (global $begun (mut i32) (i32.const 0))
  (table $table 4 funcref)
  (elem (i32.const 1) $other)
  (data $passive "passive")
  (data (i32.const 3000) "\00\00\00\00\00")
  (data (i32.const 4000) "DESCRIPTION")
  (data (i32.const 16384) "OUTCOME")

  (func $other (param i64 i64))
  (func $copy (memory.init $passive (i32.const 3200) (i32.const 0) (i32.const 7)))

  (func (export "_initialize") INITIALIZE)
  (func (export "concoord_describe") (result i64) DESCRIBE (i64.const DESCRIPTION_PLACE))
  (func (export "concoord_buffer") (param $length i32) (result i32) BUFFER)
  (func (export "concoord_export") (result i64) EXPORT)
  (func (export "concoord_import") (param $length i32) (result i64)
    IMPORT
    (global.set $begun (i32.const 1))
    (i64.const SUCCESS_PLACE))
  (func (export "concoord_call") (param $length i32) (result i64)
    (if (i32.eqz (global.get $begun)) (then
      (global.set $begun (i32.const 1))
      INIT
      (return (i64.const SILENCE_PLACE))))
    CALL
    (i64.const OUTCOME_PLACE)))
