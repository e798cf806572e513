// Part of BackgroundToolkit.js: finds the commands, runs one, reads its events, ends it on request.

const FOLDER_KEY = "BackgroundToolkit/commandFolder"; // in PixInsight's settings
const KILL_AFTER = 5000; // ms; after a request to stop the command removes its temporary files
const LOG_STEP = 10; // per cent; the console does not rewrite a line, so progress is told in steps

// What of PixInsight's environment the command may see. PixInsight's own libraries, Python and Qt
// must not reach another program, so all the rest is left out.
const KEPT_VARIABLES = [
   "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TEMP", "TMP",
   "SystemRoot", "SystemDrive", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "ProgramData",
   "XDG_CACHE_HOME", "KERAS_BACKEND", "CUDA_VISIBLE_DEVICES"
];

// Programs that are started from a desktop often miss these on their PATH.
const USUAL_FOLDERS = [ "/.local/bin", "/bin" ]; // in the user's home: pipx and uv
const SYSTEM_FOLDERS = [ "/usr/local/bin", "/opt/homebrew/bin", "/usr/bin" ];

function onWindows()
{
   return CoreApplication.platform == "MSWINDOWS" || CoreApplication.platform == "Windows";
}

function commandFolder()
{
   const folder = Settings.read( FOLDER_KEY, DataType.UCString );
   return Settings.lastReadOK && folder ? folder : "";
}

function findCommand( name )
{
   const file = onWindows() ? name + ".exe" : name;
   const chosen = commandFolder();
   const home = getEnvironmentVariable( "HOME" ) || getEnvironmentVariable( "USERPROFILE" ) || "";
   const path = ( getEnvironmentVariable( "PATH" ) || "" ).split( onWindows() ? ";" : ":" );
   const folders = chosen ? [ chosen ]
      : path.concat( home ? USUAL_FOLDERS.map( one => home + one ) : [], SYSTEM_FOLDERS );
   for ( const folder of folders )
      if ( folder && File.exists( folder + "/" + file ) )
         return folder + "/" + file;
   throw new Error( "the command " + name + " was not found in " + ( chosen || "the PATH" )
      + ". Install it, or choose its folder in the dialog." );
}

function cleanEnvironment()
{
   const kept = [];
   for ( const name of KEPT_VARIABLES )
   {
      const value = getEnvironmentVariable( name );
      if ( value )
         kept.push( name + "=" + value );
   }
   return kept;
}

// Reads events, one JSON object a line, from text that comes in pieces.
class EventReader
{
   constructor( onEvent )
   {
      this.onEvent = onEvent;
      this.rest = "";
   }

   take( text )
   {
      const lines = ( this.rest + text ).split( "\n" );
      this.rest = lines.pop();
      for ( const line of lines )
         this.read( line.trim() );
   }

   finish()
   {
      this.read( this.rest.trim() );
      this.rest = "";
   }

   read( line )
   {
      if ( line.length == 0 )
         return;
      let event = null;
      try
      {
         event = JSON.parse( line );
      }
      catch ( x )
      {
         console.writeln( line ); // of another program
         return;
      }
      if ( event && event.event )
         this.onEvent( event );
   }
}

// Runs a command until it ends or the user aborts; returns its result event.
function runCommand( program, words )
{
   let result = null, problem = "", messages = "", told = -LOG_STEP;
   const reader = new EventReader( function( event )
   {
      if ( event.event == "progress" )
      {
         if ( event.done - told >= LOG_STEP || event.done == 100 && told < 100 )
         {
            told = event.done;
            console.writeln( Math.round( event.done ) + " %"
               + ( event.eta > 0 ? ", " + Math.ceil( event.eta ) + " s left" : "" ) );
         }
      }
      else if ( event.event == "status" )
         console.writeln( event.message );
      else if ( event.event == "warning" )
         console.warningln( "** Warning: " + event.message );
      else if ( event.event == "info" && event.message )
         console.noteln( event.message );
      else if ( event.event == "error" )
         problem = event.message;
      else if ( event.event == "result" )
      {
         result = event;
         for ( const note of event.notes || [] )
            console.noteln( note );
      }
   } );

   const process = new ExternalProcess;
   process.environment = cleanEnvironment();
   process.onStandardOutputDataAvailable = function() { reader.take( String( process.stdout ) ); };
   process.onStandardErrorDataAvailable = function() { messages += String( process.stderr ); };
   console.writeln( "<end><cbr>" + [ program ].concat( words ).join( " " ) );
   console.abortEnabled = true;
   process.start( program, words );
   while ( process.isStarting )
      processEvents();
   let stopped = 0;
   while ( process.isRunning )
   {
      processEvents();
      if ( !stopped && console.abortRequested )
      {
         stopped = Date.now();
         process.terminate();
      }
      else if ( stopped && Date.now() - stopped > KILL_AFTER )
         process.kill();
   }
   processEvents(); // what came last
   reader.finish();
   if ( stopped )
      throw new Error( "aborted. The view is unchanged." );
   if ( process.exitCode != 0 || !result )
   {
      const last = messages.trim().split( "\n" ).pop();
      throw new Error( problem || last || "the command ended with code " + process.exitCode + "." );
   }
   return result;
}
