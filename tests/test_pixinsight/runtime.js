// A stand-in of PixInsight's runtime for scripts, for Node: runs a script as PixInsight would.
//
//    node runtime.js SCRIPT SCENARIO.json
//
// The scenario says what is open and what the user does; what happened is printed as JSON. Images
// are uncompressed XISF. Names are those of PixInsight; what a script uses and is not here fails.
"use strict";

const fs = require( "fs" );
const os = require( "os" );
const path = require( "path" );
const vm = require( "vm" );
const { spawn } = require( "child_process" );

const [ scriptPath, scenarioPath ] = process.argv.slice( 2 );
const scenario = JSON.parse( fs.readFileSync( scenarioPath, "utf8" ) );
const record = { console: [], boxes: [], processes: [], opened: [] };

// --- XISF ----------------------------------------------------------------------------------------

const ARRAYS = { Float32: Float32Array, Float64: Float64Array, UInt16: Uint16Array, UInt8: Uint8Array };

function readXisf( file )
{
   const bytes = fs.readFileSync( file );
   if ( bytes.toString( "latin1", 0, 8 ) != "XISF0100" )
      throw new Error( file + ": no XISF file" );
   const header = bytes.toString( "utf8", 16, 16 + bytes.readUInt32LE( 8 ) );
   const tag = header.match( /<Image\b[^>]*>/ )[0];
   const attribute = name => ( tag.match( new RegExp( "\\b" + name + '="([^"]*)"' ) ) || [] )[1];
   if ( attribute( "compression" ) )
      throw new Error( "compressed" );
   const [ width, height, channels ] = attribute( "geometry" ).split( ":" ).map( Number );
   const [ , position, size ] = attribute( "location" ).split( ":" ).map( Number );
   const format = attribute( "sampleFormat" );
   const data = new ARRAYS[format]( Uint8Array.from( bytes.subarray( position, position + size ) ).buffer );
   const keywords = [ ...header.matchAll( /<FITSKeyword name="([^"]*)" value="([^"]*)" comment="([^"]*)"/g ) ]
      .map( one => ( { name: one[1], value: one[2], comment: one[3] } ) );
   return { width, height, channels, format, data, keywords };
}

function writeXisf( file, image, keywords )
{
   const format = image.isReal ? "Float32" : "UInt16";
   const data = Buffer.from( ARRAYS[format].from( image.samples,
      value => image.isReal ? value : Math.round( 65535*value ) ).buffer );
   const cards = keywords.map( one =>
      `<FITSKeyword name="${one.name}" value="${one.value}" comment="${one.comment}"/>` ).join( "" );
   const xml = position => '<?xml version="1.0" encoding="UTF-8"?>'
      + '<xisf version="1.0" xmlns="http://www.pixinsight.com/xisf">'
      + `<Image geometry="${image.width}:${image.height}:${image.numberOfChannels}"`
      + ` sampleFormat="${format}"${image.isReal ? ' bounds="0:1"' : ""}`
      + ` colorSpace="${image.isColor ? "RGB" : "Gray"}"`
      + ` location="attachment:${position}:${data.length}">${cards}</Image></xisf>`;
   const start = 4096;
   const header = Buffer.from( xml( start ), "utf8" );
   const bytes = Buffer.alloc( start + data.length );
   bytes.write( "XISF0100", 0, "latin1" );
   bytes.writeUInt32LE( header.length, 8 );
   header.copy( bytes, 16 );
   data.copy( bytes, start );
   fs.writeFileSync( file, bytes );
}

// --- images and windows --------------------------------------------------------------------------

class Image
{
   constructor( width, height, channels, bits, isReal, isColor )
   {
      Object.assign( this, { width, height, numberOfChannels: channels, bitsPerSample: bits, isReal, isColor } );
      this.samples = new Float64Array( width*height*channels ); // in [0,1] of integers
   }

   assign( other )
   {
      Object.assign( this, other, { samples: Float64Array.from( other.samples ) } );
   }
}

class View
{
   constructor( window, id, image, isPreview )
   {
      Object.assign( this, { window, id, image, isPreview, isMainView: !isPreview, isNull: false } );
      this.history = [];
      this.inProcess = false;
   }

   beginProcess() { this.inProcess = true; }
   endProcess() { this.inProcess = false; }

   undo() { this.image.samples = this.history.pop().samples; }
}

const windows = [];
const freeId = id => windows.some( one => one.mainView.id == id ) ? freeId( id + "1" ) : id;

class ImageWindow
{
   constructor( width, height, channels, bits, isReal, isColor, id )
   {
      this.mainView = new View( this, freeId( id || "Image" ),
         new Image( width, height, channels, bits, isReal, isColor ), false );
      this.currentView = this.mainView;
      this.keywords = [];
      this.filePath = "";
      this.isNull = false;
      this.visible = false;
      windows.push( this );
   }

   saveAs( file )
   {
      writeXisf( file, this.mainView.image, this.keywords );
      this.filePath = file;
      return true;
   }

   forceClose()
   {
      windows.splice( windows.indexOf( this ), 1 );
      this.isNull = true;
   }

   show() { this.visible = true; }
   zoomToFit() {}

   static open( file )
   {
      const found = readXisf( file );
      const isReal = found.format.startsWith( "Float" );
      const window = new ImageWindow( found.width, found.height, found.channels,
         8*found.data.BYTES_PER_ELEMENT, isReal, found.channels == 3, path.basename( file, ".xisf" ) );
      window.mainView.image.samples = Float64Array.from( found.data, value => isReal ? value : value/65535 );
      window.keywords = found.keywords;
      window.filePath = file;
      record.opened.push( path.basename( file ) );
      return [ window ];
   }

   static get activeWindow() { return windows[0] || { isNull: true }; }
}

class PixelMath
{
   executeOn( view )
   {
      if ( scenario.refusePixelMath || view.inProcess )
         return false;
      const source = windows.find( one => one.mainView.id == this.expression ).mainView.image;
      if ( this.newImageSampleFormat !== PixelMath.prototype.SameAsTarget || this.rescale )
         throw new Error( "PixelMath: bad parameters" );
      view.history.push( { samples: view.image.samples } );
      const clip = value => this.truncate ? Math.min( Math.max( value, 0 ), 1 ) : value;
      view.image.samples = source.samples.map( clip );
      return true;
   }
}
PixelMath.prototype.SameAsTarget = 0;

// --- processes -----------------------------------------------------------------------------------

const running = [];

class ExternalProcess
{
   constructor()
   {
      this.environment = [];
      this.isStarting = this.isRunning = false;
      this.exitCode = 0;
      this.unread = { stdout: "", stderr: "" };
   }

   start( program, words )
   {
      const environment = Object.fromEntries( this.environment.map( one =>
         [ one.slice( 0, one.indexOf( "=" ) ), one.slice( one.indexOf( "=" ) + 1 ) ] ) );
      record.processes.push( { program, words, environment } );
      this.folder = fs.mkdtempSync( path.join( os.tmpdir(), "runtime-" ) );
      const file = name => path.join( this.folder, name );
      const out = fs.openSync( file( "stdout" ), "w" ), err = fs.openSync( file( "stderr" ), "w" );
      this.child = spawn( "/bin/sh", [ "-c", '"$@"; echo $? > "$0"', file( "code" ), program, ...words ],
         { stdio: [ "ignore", out, err ], detached: true, env: environment } );
      this.seen = { stdout: 0, stderr: 0 };
      this.isRunning = true;
      running.push( this );
   }

   poll()
   {
      const ended = fs.existsSync( path.join( this.folder, "code" ) )
         && fs.readFileSync( path.join( this.folder, "code" ), "utf8" ).endsWith( "\n" );
      for ( const [ name, handler ] of [ [ "stdout", "onStandardOutputDataAvailable" ],
                                         [ "stderr", "onStandardErrorDataAvailable" ] ] )
      {
         const all = fs.readFileSync( path.join( this.folder, name ) );
         if ( all.length > this.seen[name] )
         {
            this.unread[name] += all.subarray( this.seen[name] ).toString( "utf8" );
            this.seen[name] = all.length;
            if ( this[handler] )
               this[handler]();
         }
      }
      if ( ended || this.killed )
      {
         this.exitCode = ended ? Number( fs.readFileSync( path.join( this.folder, "code" ), "utf8" ) ) : -1;
         this.isRunning = false;
         running.splice( running.indexOf( this ), 1 );
         fs.rmSync( this.folder, { recursive: true } );
      }
   }

   get stdout() { return this.take( "stdout" ); }
   get stderr() { return this.take( "stderr" ); }

   take( name )
   {
      const text = this.unread[name];
      this.unread[name] = "";
      return { toString: () => text };
   }

   terminate()
   {
      record.terminated = true;
      // the command alone; the shell says how it ended
      spawn( "/bin/sh", [ "-c", `pkill -TERM -P ${this.child.pid}` ], { stdio: "ignore" } );
   }

   kill()
   {
      record.killed = this.killed = true;
      process.kill( -this.child.pid, "SIGKILL" );
   }
}

function processEvents()
{
   Atomics.wait( new Int32Array( new SharedArrayBuffer( 4 ) ), 0, 0, 20 );
   for ( const one of [ ...running ] )
      one.poll();
}

// --- the rest ------------------------------------------------------------------------------------

const log = kind => text => record.console.push( [ kind, String( text ) ] );
const started = Date.now();
const console_ = {
   show() {}, abortEnabled: false,
   write: log( "text" ), writeln: log( "text" ), noteln: log( "note" ), warningln: log( "warning" ),
   criticalln: log( "critical" ),
   get abortRequested()
   {
      const word = scenario.abortAfter;
      return this.abortEnabled && word !== undefined && record.console.some( one => one[1].includes( word ) );
   }
};

class Control
{
   constructor( parent ) { this.parent = parent; this.font = { width: text => 8*text.length }; }
   setFixedWidth() {}
   adjustToContents() {}
   scaledResource( name ) { return name; }
}
class Sizer { add() {} addStretch() {} addSpacing() {} }
const controls = {}; // what the user sees, by the name of its kind
const kind = name => class extends Control
{
   constructor( parent ) { super( parent ); ( controls[name] = controls[name] || [] ).push( this ); }
};
class ComboBox extends kind( "ComboBox" )
{
   constructor( parent ) { super( parent ); this.items = []; }
   addItem( text ) { this.items.push( text ); }
}
class SpinBox extends kind( "SpinBox" ) { setRange( low, high ) { this.range = [ low, high ]; } }

class Dialog extends Control
{
   execute()
   {
      record.dialog = { title: this.windowTitle, items: controls.ComboBox.map( one => one.items ) };
      const user = scenario.user || {};
      for ( const [ index, item ] of Object.entries( user.select || {} ) )
         controls.ComboBox[index].onItemSelected( controls.ComboBox[index].items.indexOf( item ) );
      if ( user.strength !== undefined )
         controls.SpinBox[0].onValueUpdated( user.strength );
      ( user.edit || [] ).forEach( ( text, k ) => text !== null && controls.Edit[k].onTextUpdated( text ) );
      for ( const text of user.check || [] )
         controls.CheckBox.find( one => one.text == text ).onCheck( true );
      if ( user.icon )
         controls.ToolButton[0].onMousePress();
      this.result = 0;
      controls.PushButton.find( one => one.text == ( user.press || "Run" ) ).onClick();
      return this.result;
   }
   ok() { this.result = 1; }
   cancel() { this.result = 0; }
   newInstance() { record.icon = { ...parameters }; }
}

const parameters = { ...scenario.parameters };
const settings = { ...scenario.settings };
const Settings = {
   lastReadOK: false,
   read( key ) { this.lastReadOK = key in settings; return this.lastReadOK ? settings[key] : null; },
   write( key, type, value ) { settings[key] = value; }
};
const Parameters = {
   isViewTarget: scenario.mode == "view",
   has: name => name in parameters,
   getString: name => String( parameters[name] ),
   getBoolean: name => String( parameters[name] ) == "true",
   getInteger: name => parseInt( parameters[name] ),
   set( name, value ) { parameters[name] = String( value ); }
};
const File = {
   systemTempDirectory: scenario.temporary,
   exists: file => fs.existsSync( file ) && fs.statSync( file ).isFile(),
   directoryExists: folder => fs.existsSync( folder ) && fs.statSync( folder ).isDirectory(),
   createDirectory: folder => fs.mkdirSync( folder, { recursive: true } ),
   remove: file => fs.unlinkSync( file ),
   removeDirectory: folder => fs.rmdirSync( folder )
};
const searchDirectory = pattern => fs.readdirSync( path.dirname( pattern ) )
   .map( name => path.join( path.dirname( pattern ), name ) );
class MessageBox
{
   constructor( text ) { this.text = text; }
   execute() { record.boxes.push( this.text ); return 0; }
}

let target = null;
if ( scenario.image )
{
   const window = ImageWindow.open( scenario.image )[0];
   window.mainView.id = "nebula";
   target = window.mainView;
   record.opened = [];
   if ( scenario.preview )
   {
      const [ x0, y0, x1, y1 ] = scenario.preview, whole = target.image;
      const part = new Image( x1 - x0, y1 - y0, whole.numberOfChannels, whole.bitsPerSample,
                              whole.isReal, whole.isColor );
      for ( let c = 0, i = 0; c < whole.numberOfChannels; ++c )
         for ( let y = y0; y < y1; ++y )
            for ( let x = x0; x < x1; ++x, ++i )
               part.samples[i] = whole.samples[( c*whole.height + y )*whole.width + x];
      target = new View( window, "Preview01", part, true );
   }
}
Object.defineProperty( Parameters, "targetView", { get: () => target } );

const context = vm.createContext( {
   console: console_, ImageWindow, PixelMath, ExternalProcess, processEvents, Settings, Parameters, File,
   searchDirectory, MessageBox, Dialog, ComboBox, SpinBox, Label: kind( "Label" ), Edit: kind( "Edit" ),
   CheckBox: kind( "CheckBox" ), PushButton: kind( "PushButton" ), ToolButton: kind( "ToolButton" ),
   VerticalSizer: Sizer, HorizontalSizer: Sizer,
   UndoFlag: { NoSwapFile: 1 }, DataType: { UCString: 1 }, StdIcon: { Error: 1 }, StdButton: { Ok: 1 },
   CoreApplication: { platform: "Linux", ensureMinimumVersion() {} },
   getEnvironmentVariable: name => process.env[name] || ""
} );

// The lines for PixInsight's preprocessor, and what they include.
function source( file )
{
   return fs.readFileSync( file, "utf8" )
      .replace( /^#(?:engine|feature-id|feature-info)(?:.*\\\r?\n)*.*$/gm, "" )
      .replace( /^#include "(.*)"$/gm, ( _, name ) => source( path.join( path.dirname( file ), name ) ) );
}

vm.runInContext( source( scriptPath ), context, { filename: scriptPath } );

if ( target )
{
   const write = ( name, samples ) => fs.writeFileSync( path.join( scenario.out, name ),
                                                        Buffer.from( Float32Array.from( samples ).buffer ) );
   write( "pixels.raw", target.image.samples );
   record.steps = target.history.length;
   record.keywords = target.window.keywords;
   record.filePath = target.window.filePath;
   if ( record.steps )
   {
      target.undo();
      write( "undone.raw", target.image.samples );
   }
}
record.windows = windows.map( one => ( { id: one.mainView.id, visible: one.visible } ) );
record.left = fs.readdirSync( scenario.temporary );
record.settings = settings;
process.stdout.write( JSON.stringify( record ) );
