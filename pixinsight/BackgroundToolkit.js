#engine v8

#feature-id    BackgroundToolkit : Background Toolkit > Background Toolkit
#feature-info  Removes the background (bgoptimizer) or the noise (bgrem denoise) of linear \
   images. The two commands are installed apart from PixInsight. Keywords, astrometric solution \
   and history of the view stay; the step can be undone.

// PixInsight reads the first lines alone to choose the engine: keep them where they are.

"use strict";

CoreApplication.ensureMinimumVersion( 1, 9, 4 );

#include "BackgroundToolkit-command.js"

const TITLE = "Background Toolkit";
const TOOLS = [
   { name: "background", text: "Background: bgoptimizer", words: [ "bgoptimizer", "--no-save-mask" ] },
   { name: "denoise", text: "Noise: bgrem denoise", words: [ "bgrem", "denoise" ] }
];
// parameter -> its values, the first one is the default
const CHOICES = {
   operation: [ "subtract", "divide", "auto" ],
   protect: [ "normal", "strong", "weak" ],
   keep: [ "background", "auto", "sources" ]
};

// ----------------------------------------------------------------------------
// Parameters, as a process icon keeps them
// ----------------------------------------------------------------------------

class ToolkitParameters
{
   constructor()
   {
      this.tool = TOOLS[0].name;
      for ( const name in CHOICES )
         this[name] = CHOICES[name][0];
      this.strength = 100; // per cent of the noise that is removed
      this.newWindow = false;
      this.showModel = false;
      this.options = "";
   }

   save()
   {
      for ( const name of Object.keys( this ) )
         Parameters.set( name, this[name] );
   }

   load()
   {
      for ( const name of Object.keys( this ) )
         if ( Parameters.has( name ) )
         {
            if ( typeof this[name] == "boolean" )
               this[name] = Parameters.getBoolean( name );
            else if ( typeof this[name] == "number" )
               this[name] = Parameters.getInteger( name );
            else
               this[name] = Parameters.getString( name );
         }
      if ( !TOOLS.some( one => one.name == this.tool ) )
         throw new Error( "tool: unknown value \"" + this.tool + "\"." );
   }

   // Words of the command line, without input and output.
   words()
   {
      const tool = TOOLS.find( one => one.name == this.tool );
      const own = this.tool == "background"
         ? [ "--operation", this.operation, "--protect", this.protect ]
         : [ "--keep", this.keep, "--strength", String( this.strength/100 ) ];
      return tool.words.concat( own, splitWords( this.options ) );
   }
}

// Words of a text; quotes hold words with spaces together.
function splitWords( text )
{
   return ( text.match( /"[^"]*"|\S+/g ) || [] ).map( one => one.replace( /^"(.*)"$/, "$1" ) );
}

// ----------------------------------------------------------------------------
// From the view to a file and back
// ----------------------------------------------------------------------------

// Writes a copy of a view as XISF. The view's own window is never saved: that would give it the
// name of a temporary file.
function writeView( view, path )
{
   const image = view.image;
   const copy = new ImageWindow( image.width, image.height, image.numberOfChannels,
                                 image.bitsPerSample, image.isReal, image.isColor );
   try
   {
      copy.mainView.beginProcess( UndoFlag.NoSwapFile );
      copy.mainView.image.assign( image );
      copy.mainView.endProcess();
      copy.keywords = view.window.keywords;
      if ( !copy.saveAs( path, false/*queryOptions*/, false/*allowMessages*/, true/*strict*/,
                         false/*verifyOverwrite*/ ) )
         throw new Error( path + ": could not be written." );
   }
   finally
   {
      copy.forceClose();
   }
}

function openImage( path )
{
   const windows = File.exists( path ) ? ImageWindow.open( path ) : [];
   if ( windows.length == 0 )
      throw new Error( path + ": the result could not be opened." );
   return windows[0];
}

// Takes the pixels of an image into a view: one step of its history, the active mask is respected.
function takePixels( source, view )
{
   const a = source.mainView.image, b = view.image;
   if ( a.width != b.width || a.height != b.height || a.numberOfChannels != b.numberOfChannels )
      throw new Error( view.id + ": the result has other dimensions." );
   const math = new PixelMath;
   math.expression = source.mainView.id;
   math.useSingleExpression = true;
   math.createNewImage = false;
   math.generateOutput = true;
   math.rescale = false;
   math.truncate = !b.isReal; // integers have no values outside of [0,1]
   math.newImageColorSpace = PixelMath.prototype.SameAsTarget;
   math.newImageSampleFormat = PixelMath.prototype.SameAsTarget;
   if ( !math.executeOn( view ) )
      throw new Error( view.id + ": the result could not be put into the view." );
}

function showAs( window, id )
{
   window.mainView.id = id;
   window.show();
   window.zoomToFit();
}

function removeFolder( folder )
{
   for ( const file of searchDirectory( folder + "/*" ) )
      if ( File.exists( file ) )
         File.remove( file );
   if ( File.directoryExists( folder ) )
      File.removeDirectory( folder );
}

// Runs a tool on a main view or a preview.
function applyTool( view, parameters )
{
   const words = parameters.words();
   const program = findCommand( words[0] );
   const folder = File.systemTempDirectory + "/BackgroundToolkit_" + Date.now().toString( 36 )
                + Math.floor( Math.random()*1e9 ).toString( 36 );
   File.createDirectory( folder, true/*createIntermediateDirectories*/ );
   try
   {
      const input = folder + "/image.xisf", output = folder + "/result.xisf";
      writeView( view, input );
      const result = runCommand( program,
         words.slice( 1 ).concat( [ input, "-o", output, "--json" ] ) );
      const window = openImage( result.outputs.result || output );
      let kept = false;
      try
      {
         if ( parameters.newWindow )
         {
            showAs( window, view.id + "_" + parameters.tool );
            kept = true;
         }
         else
            takePixels( window, view );
      }
      finally
      {
         if ( !kept )
            window.forceClose();
      }
      if ( parameters.showModel && result.outputs.model )
         showAs( openImage( result.outputs.model ), view.id + "_model" );
      console.noteln( TITLE + ": done" );
   }
   finally
   {
      removeFolder( folder );
   }
}

// ----------------------------------------------------------------------------
// The dialog
// ----------------------------------------------------------------------------

class ToolkitDialog extends Dialog
{
   constructor( parameters )
   {
      super();
      this.windowTitle = TITLE;
      this.sizer = new VerticalSizer;
      this.sizer.margin = 8;
      this.sizer.spacing = 6;

      const tool = this.combo( TOOLS.map( one => one.text ),
         TOOLS.findIndex( one => one.name == parameters.tool ),
         index => { parameters.tool = TOOLS[index].name; } );
      tool.toolTip = "<p>The image must be linear. To try settings, draw a preview and run on it.</p>";
      this.row( "Tool:", tool );
      const texts = { operation: "Background, operation:", protect: "Background, protect objects:",
                      keep: "Noise, keep:" };
      for ( const name in CHOICES )
         this.row( texts[name], this.combo( CHOICES[name], CHOICES[name].indexOf( parameters[name] ),
            index => { parameters[name] = CHOICES[name][index]; } ) );

      this.strength = new SpinBox( this );
      this.strength.setRange( 0, 100 );
      this.strength.value = parameters.strength;
      this.strength.onValueUpdated = value => { parameters.strength = value; };
      this.row( "Noise, strength (%):", this.strength );

      this.options = this.edit( parameters.options, text => { parameters.options = text; } );
      this.options.toolTip = "<p>Further options of the command, as in a terminal.</p>";
      this.row( "Further options:", this.options );
      this.folder = this.edit( commandFolder(),
         text => Settings.write( FOLDER_KEY, DataType.UCString, text.trim() ) );
      this.folder.toolTip = "<p>Where bgoptimizer and bgrem are. Empty: looked for on the PATH.</p>";
      this.row( "Folder of the commands:", this.folder );
      this.check( "Result in a new window", "newWindow", parameters );
      this.check( "Show the background model", "showModel", parameters );

      const instance = new ToolButton( this );
      instance.icon = this.scaledResource( ":/process-interface/new-instance.png" );
      instance.toolTip = "<p>Drag to the workspace: a process icon with these parameters.</p>";
      instance.onMousePress = () => { parameters.save(); this.newInstance(); };
      const run = new PushButton( this );
      run.text = "Run";
      run.onClick = () => this.ok();
      const close = new PushButton( this );
      close.text = "Close";
      close.onClick = () => this.cancel();
      const buttons = new HorizontalSizer;
      buttons.spacing = 6;
      buttons.add( instance );
      buttons.addStretch();
      buttons.add( run );
      buttons.add( close );
      this.sizer.add( buttons );
      this.adjustToContents();
   }

   row( text, control )
   {
      const label = new Label( this );
      label.text = text;
      label.setFixedWidth( this.font.width( "Background, protect objects:M" ) );
      const sizer = new HorizontalSizer;
      sizer.spacing = 6;
      sizer.add( label );
      sizer.add( control, 100 );
      this.sizer.add( sizer );
   }

   combo( items, current, onSelected )
   {
      const box = new ComboBox( this );
      for ( const item of items )
         box.addItem( item );
      box.currentItem = Math.max( current, 0 );
      box.onItemSelected = onSelected;
      return box;
   }

   edit( text, onText )
   {
      const field = new Edit( this );
      field.text = text;
      field.onTextUpdated = onText;
      return field;
   }

   check( text, name, parameters )
   {
      const box = new CheckBox( this );
      box.text = text;
      box.checked = parameters[name];
      box.onCheck = checked => { parameters[name] = checked; };
      this.sizer.add( box );
   }
}

// ----------------------------------------------------------------------------

function main()
{
   const parameters = new ToolkitParameters;
   const onView = Parameters.isViewTarget;
   try
   {
      console.show();
      parameters.load();
      if ( !onView && !( new ToolkitDialog( parameters ) ).execute() )
         return;
      const window = ImageWindow.activeWindow;
      const view = onView ? Parameters.targetView : window.isNull ? null : window.currentView;
      if ( !view )
         throw new Error( "no image is open. Open one first." );
      parameters.save();
      applyTool( view, parameters );
   }
   catch ( x )
   {
      console.criticalln( "*** " + TITLE + ": " + x.message );
      if ( !onView ) // a process icon may run in a batch, where nobody closes a box
         ( new MessageBox( "<p>" + x.message + "</p>", TITLE, StdIcon.Error, StdButton.Ok ) ).execute();
   }
}

main();
